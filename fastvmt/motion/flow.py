"""Attention motion flow (AMF): where each token of frame i finds itself in frame j.

FastVMT, section "Motion redundancy". The dense form attends to every token of frame j; the
windowed form attends to an L x L window around the soft match of the token's tile.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastvmt.motion.window import (
    clamp_centre,
    tile_centre,
    tile_index,
    tile_of_token,
    token_positions,
    window_corner,
    window_index,
    window_offsets,
    window_sides,
)
from fastvmt.settings import TileQuery
from fastvmt.types import MotionField


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision becomes float32: logits and softmax need it. Wider types stay."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def targets_of(i: int, pairs_P2: Tensor) -> Tensor:
    """Frames j of the pairs that start at frame i."""
    return pairs_P2[pairs_P2[:, 0] == i, 1]


def frame_logits(q_SE: Tensor, k_JSE: Tensor, scale: float) -> Tensor:
    """(J, S, S) ``scale * q k`` of every token of one frame with every token of J frames."""
    return torch.einsum("se,jte->jst", scale * q_SE, k_JSE)


def full_flow(q_FSE: Tensor, k_FSE: Tensor, pairs_P2: Tensor, grid: tuple[int, int, int], scale: float) -> MotionField:
    """Dense AMF: softmax over all S keys of frame j of ``scale * q k``, expected position minus own."""
    q_FSE, k_FSE = at_least_float32(q_FSE), at_least_float32(k_FSE)
    positions = token_positions(grid[1], grid[2], q_FSE.device).to(q_FSE.dtype)
    flows = []
    for i in pairs_P2[:, 0].unique().tolist():
        logits_JSS = frame_logits(q_FSE[i], k_FSE[targets_of(i, pairs_P2)], scale)
        flows.append(logits_JSS.softmax(-1) @ positions - positions)
    return MotionField(torch.cat(flows), pairs_P2, grid)


def tile_logits(logits_JSS: Tensor, index_Tt: Tensor, tile: tuple[int, int], query: TileQuery) -> Tensor:
    """(J, T, S) logits of the query that stands for each tile: its middle token's, or the tile's mean."""
    if query is TileQuery.centre:
        return logits_JSS[:, tile_centre(index_Tt, tile)]
    valid = (index_Tt >= 0).to(logits_JSS).unsqueeze(-1)
    return (logits_JSS[:, index_Tt.clamp(min=0)] * valid).sum(2) / valid.sum(1)


def windowed_flow(
    q_FSE: Tensor,
    k_FSE: Tensor,
    pairs_P2: Tensor,
    grid: tuple[int, int, int],
    scale: float,
    *,
    tile: tuple[int, int],
    l: int,  # noqa: E741
    query: TileQuery = TileQuery.centre,
    centre_gradient: bool = False,
) -> tuple[MotionField, Tensor]:
    """Windowed AMF, and the (row, column) of each window's first cell (P, T, 2), for ``window_means``.

    Per pair and tile: the tile's query attends to all of frame j, its expected position (rounded,
    clamped so that the window lies inside the frame) is the window's centre; each token of the
    tile then attends to the window only. The displacement is absolute: expected position minus
    own position, in tokens. ``centre_gradient`` passes the gradient straight through the rounding,
    except where the clamp is active; the value is the same with and without it.

    The logits of whole frames are one product, of which the windows are then picked: for frames of
    up to a few thousand tokens this is less memory and time than collecting the keys of windows.
    """
    frame = grid[1:]
    q_FSE, k_FSE = at_least_float32(q_FSE), at_least_float32(k_FSE)
    positions = token_positions(*frame, device=q_FSE.device).to(q_FSE.dtype)
    offsets_L2 = window_offsets(frame, l, q_FSE.device).to(q_FSE.dtype)
    index_Tt = tile_index(*frame, tile).to(q_FSE.device)
    tile_S = tile_of_token(*frame, tile).to(q_FSE.device)
    flows, corners = [], []
    for i in pairs_P2[:, 0].unique().tolist():
        logits_JSS = frame_logits(q_FSE[i], k_FSE[targets_of(i, pairs_P2)], scale)
        coarse_JTS = tile_logits(logits_JSS if centre_gradient else logits_JSS.detach(), index_Tt, tile, query)
        centre_JT2 = clamp_centre(coarse_JTS.softmax(-1) @ positions, frame, l)
        corner_JT2 = window_corner(centre_JT2.detach(), frame, l)
        index_JSL = window_index(corner_JT2, frame, l)[:, tile_S]
        expected = corner_JT2[:, tile_S] + logits_JSS.gather(-1, index_JSL).softmax(-1) @ offsets_L2
        if centre_gradient:
            expected = expected + (centre_JT2 - centre_JT2.detach())[:, tile_S]
        flows.append(expected - positions)
        corners.append(corner_JT2)
    return MotionField(torch.cat(flows), pairs_P2, grid), torch.cat(corners)


def window_means(
    k_FSE: Tensor,
    pairs_P2: Tensor,
    corner_PT2: Tensor,
    grid: tuple[int, int, int],
    l: int,  # noqa: E741
) -> Tensor:
    """(P, T, E) mean key of frame j over each window, given the windows' first cells."""
    sides = window_sides(grid[1:], l)
    k_FEHW = at_least_float32(k_FSE).unflatten(1, grid[1:]).permute(0, 3, 1, 2)
    means_FEHW = torch.nn.functional.avg_pool2d(k_FEHW, sides, stride=1)  # at every possible corner
    at_PT = corner_PT2[..., 0] * means_FEHW.shape[-1] + corner_PT2[..., 1]
    return means_FEHW.flatten(2).mT[pairs_P2[:, 1, None], at_PT]
