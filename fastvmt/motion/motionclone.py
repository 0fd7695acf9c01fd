"""MotionClone's sparse temporal attention (arXiv 2406.05338), cut out of attention over space and time.

Equation numbers are those of arXiv v6.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastvmt.motion.flow import at_least_float32


def temporal_probability(q_FSND: Tensor, k_FSND: Tensor) -> Tensor:
    """(S, N, F, F) how much each position of frame i attends to the same position of frame j, over all j."""
    q_FSND, k_FSND = at_least_float32(q_FSND), at_least_float32(k_FSND)
    # MotionClone, the attention map of Eq. 3: P_p(i, j) = softmax_j(q_i,p k_j,p / sqrt(D))
    logits_SNFF: Tensor = torch.einsum("isnd,jsnd->snij", q_FSND, k_FSND) * q_FSND.shape[-1] ** -0.5
    return logits_SNFF.softmax(-1)


def strongest(probability_SNFF: Tensor, exclude_self: bool = False) -> tuple[Tensor, Tensor]:
    """The largest probability over frames j and its j, each (S, N, F, 1); ``exclude_self`` leaves out j = i."""
    if exclude_self:
        own = torch.eye(probability_SNFF.shape[-1], dtype=torch.bool, device=probability_SNFF.device)
        probability_SNFF = probability_SNFF.masked_fill(own, -1)
    # MotionClone, Eq. 5 with k = 1: the mask is one at the largest entry alone
    value, index = probability_SNFF.max(-1, keepdim=True)
    return value, index


def sparse_loss(generated_SNFF: Tensor, value_SNF1: Tensor, index_SNF1: Tensor) -> Tensor:
    """Mean squared difference to the reference's largest probabilities, where the reference has them."""
    # MotionClone, Eq. 6 as a mean: L = mean |P_ref(i, j*) - P_gen(i, j*)|^2, j* the strongest frame of the reference
    return (generated_SNFF.gather(-1, index_SNF1) - value_SNF1.detach()).square().mean()


def self_hits(index_SNF1: Tensor) -> float:
    """Share of queries whose strongest frame is their own, in [0, 1]."""
    frames = torch.arange(index_SNF1.shape[2], device=index_SNF1.device)
    return float((index_SNF1[..., 0] == frames).float().mean())
