"""Attention motion flow (AMF): where each token of frame i finds itself in frame j.

FastVMT (arXiv 2602.05551), section "Motion redundancy". Here the dense form, which attends to every
token of frame j; :mod:`fastvmt.motion.windowed` has the windowed one. DiTFlow (arXiv 2412.07776) reads the generated
video in the same way; its equation numbers are those of v2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from fastvmt.motion.pairs import by_source
from fastvmt.motion.window import token_positions
from fastvmt.types import MotionField, Pairs

Read = TypeVar("Read")


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision becomes float32: logits and softmax need it. Wider types stay."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def per_source(read: Callable[[Tensor, Tensor], Read], q_FSE: Tensor, k_FSE: Tensor, pairs: Pairs) -> list[Read]:
    """What ``read`` makes of each source frame's queries (S, E) and its target frames' keys (J, S, E).

    In at least float32, source frame after source frame: with attention over whole frames no more than
    J S S logits are needed at a time.
    """
    q_FSE = at_least_float32(q_FSE)
    k_FSE = at_least_float32(k_FSE)
    return [read(q_FSE[i], k_FSE[targets.start : targets.stop]) for i, targets in by_source(pairs)]


def frame_logits(q_SE: Tensor, k_JSE: Tensor, scale: float) -> Tensor:
    """(J, S, S) ``scale * q k`` of every token of one frame with every token of J frames."""
    return torch.einsum("se,jte->jst", scale * q_SE, k_JSE)


def expected_displacement(q_SE: Tensor, k_JSE: Tensor, positions_S2: Tensor, scale: float) -> Tensor:
    """(J, S, 2) expected position under the attention to each of J frames, minus the token's own."""
    # DiTFlow, Eq. 6: A = softmax_t(scale Q_i[s] K_j[t]); Eq. 7: Delta_ij(s) = sum_t A_t pos(t) - pos(s)
    return frame_logits(q_SE, k_JSE, scale).softmax(-1) @ positions_S2 - positions_S2


def full_flow(q_FSE: Tensor, k_FSE: Tensor, pairs: Pairs, grid: tuple[int, int, int], scale: float) -> MotionField:
    """Compute the dense AMF: softmax over all S keys of frame j of ``scale * q k``, expected position minus own."""
    q_FSE = at_least_float32(q_FSE)
    positions_S2 = token_positions(grid[1], grid[2], q_FSE.device).to(q_FSE.dtype)

    def displacement(q_SE: Tensor, k_JSE: Tensor) -> Tensor:
        return expected_displacement(q_SE, k_JSE, positions_S2, scale)

    return MotionField(torch.cat(per_source(displacement, q_FSE, k_FSE, pairs)), pairs, grid)
