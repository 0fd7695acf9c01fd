"""SMM: motion as differences between the spatial marginal means of hidden features (arXiv 2311.17009)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fastvmt.motion.flow import at_least_float32
from fastvmt.motion.pairs import all_pairs, sources_and_targets


def marginal_mean(hidden_FSE: Tensor) -> Tensor:
    """(F, E) the mean feature of each frame."""
    # SMM, Sec. 4.1: m_i = mean_s f_i(s)
    return at_least_float32(hidden_FSE).mean(1)


def smm_loss(generated_FE: Tensor, reference_FE: Tensor) -> Tensor:
    """1 - cosine of the differences between every two frames' marginal means; mean over ordered pairs, in [0, 2].

    A frame's difference to itself is left out: it would only add a constant.
    """
    # SMM, Sec. 4.2, has |(m_j - m_i) - (mref_j - mref_i)|^2; its authors' code 1 - cos(m_j - m_i, mref_j - mref_i)
    pairs = tuple((i, j) for i, j in all_pairs(len(generated_FE)) if i != j)
    anchor, other = sources_and_targets(pairs, generated_FE.device)
    generated, reference = (m[other] - m[anchor] for m in (generated_FE, reference_FE.detach()))
    return (1 - F.cosine_similarity(generated, reference, dim=-1)).mean()
