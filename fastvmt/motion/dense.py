"""DiTFlow's displacements (arXiv 2412.07776): every token of every frame in every frame, itself included."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fastvmt.motion.flow import at_least_float32, full_flow, targets_of
from fastvmt.motion.window import token_positions
from fastvmt.types import MotionField


def all_pairs(frames: int) -> Tensor:
    """All ordered pairs (i, j) with i = j among them, as (F F, 2) int64 in order of i, then j."""
    return torch.cartesian_prod(torch.arange(frames), torch.arange(frames))


def strongest_flow(q_FSE: Tensor, k_FSE: Tensor, pairs_P2: Tensor, grid: tuple[int, int, int]) -> MotionField:
    """Position of each token's best key in frame j minus its own: whole tokens, without a gradient."""
    q_FSE, k_FSE = at_least_float32(q_FSE), at_least_float32(k_FSE)
    positions = token_positions(grid[1], grid[2], q_FSE.device).to(q_FSE.dtype)
    flows = []
    for i in pairs_P2[:, 0].unique().tolist():
        logits_JSS = torch.einsum("se,jte->jst", q_FSE[i], k_FSE[targets_of(i, pairs_P2)])
        flows.append(positions[logits_JSS.argmax(-1)] - positions)
    return MotionField(torch.cat(flows), pairs_P2, grid)


def expected_flow(
    q_FSE: Tensor, k_FSE: Tensor, pairs_P2: Tensor, grid: tuple[int, int, int], scale: float
) -> MotionField:
    """``full_flow`` that keeps no attention: the gradient computes it again, one frame i at a time."""

    def flow_of(i: int, q_FSE: Tensor, k_FSE: Tensor) -> Tensor:
        return full_flow(q_FSE, k_FSE, pairs_P2[pairs_P2[:, 0] == i], grid, scale).flow_PS2

    frames = pairs_P2[:, 0].unique().tolist()
    flows = [checkpoint(flow_of, i, q_FSE, k_FSE, use_reentrant=False, preserve_rng_state=False) for i in frames]
    return MotionField(torch.cat(flows), pairs_P2, grid)


def moving_flow_loss(generated: MotionField, reference: MotionField) -> Tensor:
    """Mean squared difference, tokens squared, over the entries (pair, token) that move in the reference.

    Zero where nothing moves in the reference.
    """
    target_PS2 = reference.flow_PS2.detach()
    moving_PS = (target_PS2 != 0).any(-1)
    squared_PS = (generated.flow_PS2 - target_PS2).square().mean(-1)
    return (squared_PS * moving_PS).sum() / moving_PS.sum().clamp(min=1)
