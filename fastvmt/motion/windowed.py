"""Windowed attention motion flow (FastVMT, arXiv 2602.05551): attention to the keys around each tile's coarse match.

Apart from the coarse match, one query per tile and frame pair, no product leaves the windows, and of the
attention nothing is kept: the gradient, which is exact, computes it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fastvmt.motion.flow import at_least_float32
from fastvmt.motion.pairs import sources_and_targets
from fastvmt.motion.window import (
    clamp_centre,
    in_tiles,
    out_of_tiles,
    tile_centre,
    tile_index,
    token_positions,
    window_cells,
    window_corner,
    window_offsets,
    window_sides,
)
from fastvmt.settings import TileQuery
from fastvmt.types import MotionField, Pairs

CACHE_VALUES = 2**19
"""Key values that a processor handles at a time: 2 MiB of float32, about what its cache holds."""
DEVICE_VALUES = 2**25
"""The same on an accelerator, where few large products matter more: 128 MiB of float32."""


@dataclass(frozen=True)
class Windows:
    """W sets of L keys, alike but for where they begin, and the block of queries that attends to each."""

    block_W: Tensor
    """int64, which block of queries."""
    first_W: Tensor
    """int64, the first key."""
    cells_L: Tensor
    """int64, the keys as counted from the first."""
    places_L2: Tensor
    """(row, column) of the keys relative to the first."""

    def parts(self, k_KE: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Some windows at a time: which, their blocks of queries (w,) and the indices of their keys (w L,)."""
        values = CACHE_VALUES if k_KE.is_cpu else DEVICE_VALUES
        step = max(1, values // (len(self.cells_L) * k_KE.shape[1]))
        for start in range(0, len(self.block_W), step):
            part = slice(start, start + step)
            yield part, self.block_W[part], (self.first_W[part, None] + self.cells_L).flatten()


class ExpectedPlace(torch.autograd.Function):
    """Expected place in its window of each query of blocks (B, t, E) among keys (K, E): (W, t, 2).

    Keeps queries, keys and the windows' beginnings; once differentiable. On an accelerator the gradient
    of keys that several windows share is summed in no fixed order, unless PyTorch is told to be deterministic.
    """

    @staticmethod
    def forward(ctx: Any, q_BtE: Tensor, k_KE: Tensor, windows: Windows, scale: float) -> Tensor:
        ctx.save_for_backward(q_BtE, k_KE)
        ctx.windows = windows
        ctx.scale = scale
        place_Wt2 = q_BtE.new_empty(len(windows.block_W), q_BtE.shape[1], 2)
        for part, block_w, key_wL in windows.parts(k_KE):
            k_wLE = k_KE.index_select(0, key_wL).unflatten(0, (len(block_w), -1))
            # A = softmax(scale q k^T), e = A o
            attention_wtL = (scale * q_BtE[block_w] @ k_wLE.mT).softmax(-1)
            place_Wt2[part] = attention_wtL @ windows.places_L2
        return place_Wt2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_Wt2: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        q_BtE, k_KE = ctx.saved_tensors
        windows: Windows = ctx.windows
        grad_q_BtE = torch.zeros_like(q_BtE) if ctx.needs_input_grad[0] else None
        grad_k_KE = torch.zeros_like(k_KE) if ctx.needs_input_grad[1] else None
        for part, block_w, key_wL in windows.parts(k_KE):
            k_wLE = k_KE.index_select(0, key_wL).unflatten(0, (len(block_w), -1))
            q_wtE = ctx.scale * q_BtE[block_w]
            attention_wtL = (q_wtE @ k_wLE.mT).softmax(-1)
            # dlogits = A (g o^T - e g), with e g written as the sum over the window of A g o^T
            weighted_wtL = attention_wtL * (grad_Wt2[part] @ windows.places_L2.mT)
            grad_wtL = weighted_wtL - attention_wtL * weighted_wtL.sum(-1, keepdim=True)
            if grad_q_BtE is not None:  # dq = scale dlogits k
                grad_q_BtE.index_add_(0, block_w, ctx.scale * (grad_wtL @ k_wLE))
            if grad_k_KE is not None:  # dk = scale dlogits^T q
                grad_k_KE.index_add_(0, key_wL, (grad_wtL.mT @ q_wtE).flatten(0, 1))
        return grad_q_BtE, grad_k_KE, None, None


def tile_queries(q_FSE: Tensor, grid: tuple[int, int], tile: tuple[int, int], query: TileQuery) -> Tensor:
    """(F, T, E) the query that stands for each tile: its middle token's, or the mean of the tile's."""
    if query is TileQuery.centre:
        return q_FSE.index_select(1, tile_centre(tile_index(*grid, tile, q_FSE.device), tile))
    count_T1 = in_tiles(q_FSE.new_ones(1, q_FSE.shape[1], 1), grid, tile)[0].sum(1)
    return in_tiles(q_FSE, grid, tile).sum(2) / count_T1


def coarse_match(q_FTE: Tensor, k_FSE: Tensor, pairs: Pairs, grid: tuple[int, int], scale: float) -> Tensor:
    """(P, T, 2) expected position in frame j of each tile of frame i, under attention to the whole frame."""
    source_P, target_P = sources_and_targets(pairs, k_FSE.device)
    tokens = k_FSE.shape[1]
    positions_S2 = token_positions(*grid, device=k_FSE.device).to(k_FSE.dtype)
    frames = Windows(source_P, target_P * tokens, torch.arange(tokens, device=k_FSE.device), positions_S2)
    expected_PT2: Tensor = ExpectedPlace.apply(q_FTE, k_FSE.flatten(0, 1), frames, scale)
    return expected_PT2


def attend_to_windows(
    q_FTtE: Tensor, k_FSE: Tensor, corner_PT2: Tensor, pairs: Pairs, grid: tuple[int, int], side: int, scale: float
) -> Tensor:
    """(P, T, t, 2) expected place of each token of a tile in the tile's window, relative to the window's first cell."""
    source_P, target_P = sources_and_targets(pairs, k_FSE.device)
    tiles = q_FTtE.shape[1]
    first_PT = target_P[:, None] * k_FSE.shape[1] + corner_PT2[..., 0] * grid[1] + corner_PT2[..., 1]
    block_PT = source_P[:, None] * tiles + torch.arange(tiles, device=k_FSE.device)
    offsets_L2 = window_offsets(grid, side, k_FSE.device).to(k_FSE.dtype)
    windows = Windows(block_PT.flatten(), first_PT.flatten(), window_cells(grid, side, k_FSE.device), offsets_L2)
    place_Wt2: Tensor = ExpectedPlace.apply(q_FTtE.flatten(0, 1), k_FSE.flatten(0, 1), windows, scale)
    place_PTt2: Tensor = place_Wt2.unflatten(0, (len(pairs), tiles))
    return place_PTt2


def windowed_flow(
    q_FSE: Tensor,
    k_FSE: Tensor,
    pairs: Pairs,
    grid: tuple[int, int, int],
    scale: float,
    *,
    tile: tuple[int, int],
    side: int,
    query: TileQuery = TileQuery.centre,
    centre_gradient: bool = False,
) -> tuple[MotionField, Tensor]:
    """Compute the windowed AMF, and the (row, column) of each window's first cell (P, T, 2), for ``window_means``.

    Per pair and tile: the tile's query attends to all of frame j, its expected position (rounded,
    clamped so that the window lies inside the frame) is the window's centre; each token of the
    tile then attends to the window only. The displacement is absolute: expected position minus
    own position, in tokens. ``centre_gradient`` passes the gradient straight through the rounding,
    except where the clamp is active; the value is the same with and without it.
    """
    frame = grid[1:]
    q_FSE = at_least_float32(q_FSE)
    k_FSE = at_least_float32(k_FSE)
    # FastVMT, Sec. 3.2: c_p = sum_s A_s pos(s) with A = softmax_s(scale q_p K_j[s]), C_p = clamp(round(c_p))
    with torch.set_grad_enabled(centre_gradient and torch.is_grad_enabled()):
        soft_PT2 = coarse_match(tile_queries(q_FSE, frame, tile, query), k_FSE, pairs, frame, scale)
        centre_PT2 = clamp_centre(soft_PT2, frame, side)
    corner_PT2 = window_corner(centre_PT2.detach(), frame, side)
    # pos_hat(s) = C_p + sum_m A_m o_m with A = softmax_m(scale Q_i[s] K_j[W_p(m)])
    place_PTt2 = attend_to_windows(in_tiles(q_FSE, frame, tile), k_FSE, corner_PT2, pairs, frame, side, scale)
    expected_PTt2 = corner_PT2[:, :, None] + place_PTt2
    if centre_gradient:
        expected_PTt2 = expected_PTt2 + (centre_PT2 - centre_PT2.detach())[:, :, None]
    # Delta_ij(s) = pos_hat(s) - pos(s)
    positions_S2 = token_positions(*frame, device=q_FSE.device).to(q_FSE.dtype)
    return MotionField(out_of_tiles(expected_PTt2, frame, tile) - positions_S2, pairs, grid), corner_PT2


def window_means(k_FSE: Tensor, pairs: Pairs, corner_PT2: Tensor, grid: tuple[int, int, int], side: int) -> Tensor:
    """(P, T, E) mean key of frame j over each window, given the windows' first cells."""
    # FastVMT, Sec. 3.3: Kbar_(i -> j)(p) = mean_m K_j[W_p(m)]
    k_FEHW = at_least_float32(k_FSE).unflatten(1, grid[1:]).permute(0, 3, 1, 2)
    means_FEHW = torch.nn.functional.avg_pool2d(k_FEHW, window_sides(grid[1:], side), stride=1)  # at every corner
    at_PT = corner_PT2[..., 0] * means_FEHW.shape[-1] + corner_PT2[..., 1]
    _, target_P = sources_and_targets(pairs, k_FSE.device)
    return means_FEHW.flatten(2).mT[target_P[:, None], at_PT]
