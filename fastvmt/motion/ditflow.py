"""DiTFlow's displacements (arXiv 2412.07776): every token of every frame in every frame, itself included.

Equation numbers are those of arXiv v2.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fastvmt.motion.flow import at_least_float32, expected_displacement, per_source
from fastvmt.motion.window import token_positions
from fastvmt.types import MotionField, Pairs


def strongest_flow(q_FSE: Tensor, k_FSE: Tensor, pairs: Pairs, grid: tuple[int, int, int]) -> MotionField:
    """Position of each token's best key in frame j minus its own: whole tokens, without a gradient."""
    q_FSE = at_least_float32(q_FSE)
    positions_S2 = token_positions(grid[1], grid[2], q_FSE.device).to(q_FSE.dtype)

    def displacement(q_SE: Tensor, k_JSE: Tensor) -> Tensor:
        # DiTFlow, Sec. 4.2, whose set over all i and j is Eq. 4: Delta_ij(s) = pos(argmax_t Q_i[s] K_j[t]) - pos(s)
        logits_JSS = torch.einsum("se,jte->jst", q_SE, k_JSE)
        return positions_S2[logits_JSS.argmax(-1)] - positions_S2

    return MotionField(torch.cat(per_source(displacement, q_FSE, k_FSE, pairs)), pairs, grid)


def expected_flow(q_FSE: Tensor, k_FSE: Tensor, pairs: Pairs, grid: tuple[int, int, int], scale: float) -> MotionField:
    """``full_flow`` that keeps no attention: the gradient computes it again, one frame i at a time."""
    q_FSE = at_least_float32(q_FSE)
    positions_S2 = token_positions(grid[1], grid[2], q_FSE.device).to(q_FSE.dtype)

    def displacement(q_SE: Tensor, k_JSE: Tensor) -> Tensor:
        flow_JS2: Tensor = checkpoint(
            expected_displacement, q_SE, k_JSE, positions_S2, scale, use_reentrant=False, preserve_rng_state=False
        )
        return flow_JS2

    return MotionField(torch.cat(per_source(displacement, q_FSE, k_FSE, pairs)), pairs, grid)


def moving_flow_loss(generated: MotionField, reference: MotionField) -> Tensor:
    """Mean squared difference, tokens squared, over the entries (pair, token) that move in the reference.

    Zero where nothing moves in the reference.
    """
    # DiTFlow, Eq. 8, as its authors' code has it: the mean of |Delta_ref - Delta_gen|^2 / 2 where Delta_ref(s) != 0
    target_PS2 = reference.flow_PS2.detach()
    moving_PS = (target_PS2 != 0).any(-1)
    squared_PS = (generated.flow_PS2 - target_PS2).square().mean(-1)
    return (squared_PS * moving_PS).sum() / moving_PS.sum().clamp(min=1)
