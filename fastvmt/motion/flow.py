"""Attention motion flow (AMF): where each token of frame i finds itself in frame j.

FastVMT, section "Motion redundancy". The dense form attends to every token of frame j; the
windowed form attends to an L x L window around the soft match of the token's tile.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastvmt.motion.window import clamp_centre, tile_centre, tile_index, token_positions, window_index
from fastvmt.settings import TileQuery
from fastvmt.types import MotionField


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision becomes float32: logits and softmax need it. Wider types stay."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def targets_of(i: int, pairs_P2: Tensor) -> Tensor:
    """Frames j of the pairs that start at frame i."""
    return pairs_P2[pairs_P2[:, 0] == i, 1]


def full_flow(q_FSE: Tensor, k_FSE: Tensor, pairs_P2: Tensor, grid: tuple[int, int, int], scale: float) -> MotionField:
    """Dense AMF: softmax over all S keys of frame j of ``scale * q k``, expected position minus own."""
    q_FSE, k_FSE = at_least_float32(q_FSE), at_least_float32(k_FSE)
    positions = token_positions(grid[1], grid[2], q_FSE.device).to(q_FSE.dtype)
    flows = []
    for i in pairs_P2[:, 0].unique().tolist():
        logits_JSS = scale * torch.einsum("se,jte->jst", q_FSE[i], k_FSE[targets_of(i, pairs_P2)])
        flows.append(logits_JSS.softmax(-1) @ positions - positions)
    return MotionField(torch.cat(flows), pairs_P2, grid)


def tile_queries(q_SE: Tensor, index_Tt: Tensor, tile: tuple[int, int], query: TileQuery) -> Tensor:
    """(T, E) the query that stands for each tile: its middle token's, or the tile's mean."""
    if query is TileQuery.centre:
        return q_SE[tile_centre(index_Tt, tile)]
    valid = (index_Tt >= 0).to(q_SE).unsqueeze(-1)
    return (q_SE[index_Tt.clamp(min=0)] * valid).sum(1) / valid.sum(1)


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
    """Windowed AMF, and each window's mean key (P, T, E) for the corresponding-window loss.

    Per pair and tile: the tile's query attends to all of frame j, its expected position (rounded,
    clamped so that the window lies inside the frame) is the window's centre; each token of the
    tile then attends to the window only. The displacement is absolute: expected position minus
    own position, in tokens. ``centre_gradient`` passes the gradient straight through the rounding,
    except where the clamp is active; the value is the same with and without it.
    """
    frame = grid[1:]
    q_FSE, k_FSE = at_least_float32(q_FSE), at_least_float32(k_FSE)
    positions = token_positions(*frame, device=q_FSE.device).to(q_FSE.dtype)
    index_Tt = tile_index(*frame, tile).to(q_FSE.device)
    valid_Tt = index_Tt >= 0
    order = index_Tt[valid_Tt].argsort()  # tile-major -> raster
    own_Tt2 = positions[index_Tt.clamp(min=0)]
    flows, means = [], []
    for i in pairs_P2[:, 0].unique().tolist():
        k_JSE = k_FSE[targets_of(i, pairs_P2)]
        q_SE = q_FSE[i]
        coarse = scale * torch.einsum("te,jse->jts", tile_queries(q_SE, index_Tt, tile, query), k_JSE)
        centre_JT2 = clamp_centre(coarse.softmax(-1) @ positions, frame, l)
        index_JTL = window_index(centre_JT2.detach(), frame, l)
        window_JTLE = k_JSE[torch.arange(len(k_JSE), device=q_FSE.device)[:, None, None], index_JTL]
        logits = scale * torch.einsum("tpe,jtle->jtpl", q_SE[index_Tt.clamp(min=0)], window_JTLE)
        expected = torch.einsum("jtpl,jtlc->jtpc", logits.softmax(-1), positions[index_JTL])
        if centre_gradient:
            expected = expected + (centre_JT2 - centre_JT2.detach())[:, :, None]
        flows.append((expected - own_Tt2)[:, valid_Tt][:, order])
        means.append(window_JTLE.mean(2))
    return MotionField(torch.cat(flows), pairs_P2, grid), torch.cat(means)
