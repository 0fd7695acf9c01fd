"""FastVMT's two losses: attention motion flow and corresponding windows."""

from __future__ import annotations

import torch
from torch import Tensor

from fastvmt.types import MotionField


def amf_loss(generated: MotionField, reference: MotionField, weight_P: Tensor) -> Tensor:
    """Weighted squared distance of two motion fields in tokens squared, mean over pairs and tokens.

    The reference is a constant. Zero for identical fields. Raises ``ValueError`` when the fields
    belong to different grids or pairs.
    """
    if generated.grid != reference.grid or not torch.equal(generated.pairs_P2, reference.pairs_P2):
        raise ValueError(
            f"motion fields do not belong together: generated {len(generated.pairs_P2)} pairs on grid "
            f"{generated.grid}, reference {len(reference.pairs_P2)} pairs on grid {reference.grid}, "
            "or the pairs differ"
        )
    squared_PS = (generated.flow_PS2 - reference.flow_PS2.detach()).square().sum(-1)
    return (weight_P[:, None] * squared_PS).mean()


def window_loss(k_mean_PTE: Tensor, pairs_P2: Tensor) -> Tensor:
    """How much the mean key of corresponding windows changes from target frame to target frame.

    For every source frame i with at least two targets: the mean over tiles and consecutive targets
    of the squared distance between the windows' mean keys; then the mean over those frames. Zero
    when no frame has two targets (window.sf = 1).
    """
    terms = []
    for i in pairs_P2[:, 0].unique().tolist():
        k_JTE = k_mean_PTE[pairs_P2[:, 0] == i]
        if len(k_JTE) > 1:
            terms.append((k_JTE[1:] - k_JTE[:-1]).square().sum(-1).mean())
    return sum(terms, k_mean_PTE.new_zeros(())) / max(len(terms), 1)
