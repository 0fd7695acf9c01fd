"""MOFT: motion as hidden features without their content (arXiv 2405.14864).

Equation numbers are those of the paper at NeurIPS 2024.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastvmt.motion.flow import at_least_float32


def motion_part(hidden_FSE: Tensor) -> Tensor:
    """Features without their mean over the frames, which is content."""
    hidden_FSE = at_least_float32(hidden_FSE)
    # MOFT, Eq. 1: M_i = f_i - mean_i f_i
    return hidden_FSE - hidden_FSE.mean(0)


def motion_channels(motion_FSE: Tensor, share: float) -> Tensor:
    """Sorted indices of the ``share`` of channels, one at least, that carry most of the motion.

    The channels with the largest entries of the first right singular vector of the (F S, E) matrix.
    """
    rows = motion_FSE.flatten(0, 1).double()
    # MOFT, Sec. 3.2: the leading component of a PCA; M = U S V^T, V holds the eigenvectors of M^T M, the first one last
    _, vectors = torch.linalg.eigh(rows.T @ rows)
    count = max(1, round(share * rows.shape[1]))
    strongest: Tensor = vectors[:, -1].abs().topk(count).indices
    return strongest.sort().values


def moft_loss(generated_FSE: Tensor, reference_FSE: Tensor) -> Tensor:
    """1 - cosine over the channels, mean over frames and positions; in [0, 2]."""
    # MOFT, Eq. 3, has the norm of the difference in a region; the cosine over the whole frame is DiTFlow's authors'
    return (1 - F.cosine_similarity(generated_FSE, reference_FSE.detach(), dim=-1)).mean()
