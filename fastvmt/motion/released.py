"""The released code's arithmetic of attention motion flow, switch by switch; see ``Switches``.

Pure functions beside the correct ones of :mod:`fastvmt.motion.flow` and :mod:`fastvmt.motion.losses`,
which they call wherever a switch is at its correct form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastvmt.motion.flow import at_least_float32, frame_logits, full_flow, per_source
from fastvmt.motion.heads import reduce_heads
from fastvmt.motion.losses import window_loss, with_two_targets
from fastvmt.motion.pairs import frame_pairs, pair_weights, sources_and_targets
from fastvmt.motion.switches import Switches
from fastvmt.motion.window import (
    clamp_centre,
    tile_centre,
    tile_index,
    tile_of_token,
    token_positions,
    window_corner,
    window_index,
    window_offsets,
)
from fastvmt.motion.windowed import window_means, windowed_flow
from fastvmt.settings import HeadReduce, Reduction, TileQuery, Window
from fastvmt.types import MotionField, Pairs


def check_scramble(tokens: int, heads: int) -> None:
    """Raise ``ValueError`` unless the ``tokens`` of all frames are a multiple of the ``heads``."""
    if tokens % heads:
        raise ValueError(
            f"method.switches.head_reduce=official_scramble needs a multiple of {heads} tokens, one per head, not "
            f"{tokens}: change backbone.frames, height or width, or use mean_qk"
        )


def scramble_heads(x_FSND: Tensor) -> Tensor:
    """(F, S, D) whose token g N + r, counted over all frames, is head r averaged over tokens g N .. g N + N - 1.

    Raises as :func:`check_scramble` does.
    """
    frames, tokens, heads, _ = x_FSND.shape
    check_scramble(frames * tokens, heads)
    runs_GND = x_FSND.reshape(-1, heads, *x_FSND.shape[2:]).mean(1)
    return runs_GND.reshape(frames, tokens, -1)


def reduce_queries_and_keys(
    q_FSND: Tensor, k_FSND: Tensor, switches: Switches, chosen: HeadReduce
) -> tuple[Tensor, Tensor, float]:
    """Queries, keys and scale as of ``reduce_heads``; ``chosen`` where the switch leaves it to the guidance."""
    if switches.head_reduce == "official_scramble":
        return scramble_heads(q_FSND), scramble_heads(k_FSND), q_FSND.shape[-1] ** -0.5
    how = chosen if switches.head_reduce == "guidance" else HeadReduce(switches.head_reduce)
    return reduce_heads(q_FSND, k_FSND, how)


def released_pairs(frames: int, sf: int, switches: Switches) -> Pairs:
    """Pairs of every frame with itself if so switched, then i < j <= i + sf, or i + sf - 1."""
    pairs = frame_pairs(frames, sf if switches.pair_range == "paper" else sf - 1)
    own = tuple((i, i) for i in range(frames)) if switches.self_pairs else ()
    return own + pairs


def between_frames(pairs: Pairs) -> Pairs:
    """Without the pairs of a frame with itself."""
    return tuple((i, j) for i, j in pairs if i != j)


def released_weights(
    pairs: Pairs, sf: int, alpha: float, switches: Switches, device: torch.device | None = None
) -> Tensor:
    """(P,) weights: 1 at distance 0, from 1 at the nearest to 1 - alpha at distance sf; or at sf - 1, from 0."""
    if switches.pair_range == "code":  # the ramp begins at distance 0, not 1
        return pair_weights(tuple((i, j + 1) for i, j in pairs), sf, alpha, device)
    return pair_weights(pairs, sf, alpha, device).clamp(max=1)


def clamped_cells(centre: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """(..., L, 2) int64 (row, column) of the cells around soft centres, each clamped to a .. extent - 1 - a.

    ``side`` is at most the grid's sides.
    """
    half = side // 2
    steps = torch.arange(-half, half + 1, device=centre.device)
    rows, columns = (
        (at[..., None] + steps).clamp(half, extent - 1 - half).long()
        for at, extent in zip(centre.unbind(-1), grid, strict=True)
    )
    shape = (*centre.shape[:-1], side, side)
    return torch.stack([rows[..., :, None].expand(shape), columns[..., None, :].expand(shape)], -1).flatten(-3, -2)


def place_windows(
    centre: Tensor, grid: tuple[int, int], side: int, switches: Switches
) -> tuple[Tensor, Tensor, Tensor]:
    """Windows around soft centres (..., 2), as the switches say.

    Token indices (..., L), coordinates (L, 2) or (..., L, 2) of the cells relative to the window's first,
    and the first cells (..., 2).
    """
    offsets = window_offsets(grid, side, centre.device).to(centre.dtype)
    if switches.window_clamp == "centre":
        corner = window_corner(clamp_centre(centre, grid, side), grid, side)
        return window_index(corner, grid, side), offsets, corner
    cells = clamped_cells(centre, grid, side)
    index = cells[..., 0] * grid[1] + cells[..., 1]
    corner = cells[..., 0, :]
    if switches.offset == "missing":  # the code's table of coordinates does not know of the clamp
        return index, offsets, corner
    return index, (cells - corner[..., None, :]).to(centre.dtype), corner


def thin(index: Tensor, coordinates: Tensor, switches: Switches) -> tuple[Tensor, Tensor]:
    """The window's cells and coordinates after the parity of their index had its say."""
    if switches.parity == "subsample":
        return index[..., ::2], coordinates[..., ::2, :]
    if switches.parity == "zero_coord":
        even = 1 - torch.arange(coordinates.shape[-2], device=coordinates.device) % 2
        return index, coordinates * even[:, None]
    return index, coordinates


def expected_coordinates(attention_JSL: Tensor, coordinates: Tensor, tile_S: Tensor) -> Tensor:
    """(J, S, 2) mean under the attention of coordinates (L, 2), or of those of each tile's window (J, T, L, 2)."""
    if coordinates.ndim == 2:
        return attention_JSL @ coordinates
    return torch.einsum("jsl,jslc->jsc", attention_JSL, coordinates[:, tile_S])


def tile_logits(logits_JSS: Tensor, index_Tt: Tensor, tile: tuple[int, int], query: TileQuery) -> Tensor:
    """(J, T, S) logits of the query that stands for each tile: its middle token's, or the tile's mean."""
    if query is TileQuery.centre:
        return logits_JSS[:, tile_centre(index_Tt, tile)]
    valid = (index_Tt >= 0).to(logits_JSS).unsqueeze(-1)
    return (logits_JSS[:, index_Tt.clamp(min=0)] * valid).sum(2) / valid.sum(1)


def switched_flow(
    q_FSE: Tensor,
    k_FSE: Tensor,
    pairs: Pairs,
    grid: tuple[int, int, int],
    scale: float,
    window: Window,
    switches: Switches,
) -> tuple[MotionField, Tensor]:
    """``windowed_flow`` under switches 2 to 4, over the logits of whole frames: its windows repeat cells."""
    frame = grid[1:]
    tile = (window.tile[0], window.tile[1])
    device = q_FSE.device
    positions = token_positions(*frame, device=device).to(at_least_float32(q_FSE).dtype)
    in_tile_S2 = torch.stack([positions[:, 0] % tile[0], positions[:, 1] % tile[1]], -1)
    index_Tt = tile_index(*frame, tile, device)
    tile_S = tile_of_token(*frame, tile, device)

    def read(q_SE: Tensor, k_JSE: Tensor) -> tuple[Tensor, Tensor]:
        logits_JSS = frame_logits(q_SE, k_JSE, scale)
        coarse_JTS = tile_logits(logits_JSS, index_Tt, tile, window.query)
        soft_JT2 = coarse_JTS.softmax(-1) @ positions
        index_JTL, coordinates, corner_JT2 = place_windows(soft_JT2.detach(), frame, window.l, switches)
        kept_JTL, coordinates = thin(index_JTL, coordinates, switches)
        attention_JSL = logits_JSS.gather(-1, kept_JTL[:, tile_S]).softmax(-1)
        place_JS2 = expected_coordinates(attention_JSL, coordinates, tile_S)
        if switches.offset == "missing":
            return place_JS2 - in_tile_S2, index_JTL
        expected_JS2 = corner_JT2[:, tile_S] + place_JS2
        if window.centre_gradient:
            centre_JT2 = clamp_centre(soft_JT2, frame, window.l)
            expected_JS2 = expected_JS2 + (centre_JT2 - centre_JT2.detach())[:, tile_S]
        return expected_JS2 - positions, index_JTL

    flows, indices = zip(*per_source(read, q_FSE, k_FSE, pairs), strict=True)
    return MotionField(torch.cat(flows), pairs, grid), torch.cat(indices)


def released_windowed_flow(
    q_FSE: Tensor,
    k_FSE: Tensor,
    pairs: Pairs,
    grid: tuple[int, int, int],
    scale: float,
    window: Window,
    switches: Switches,
) -> tuple[MotionField, Tensor]:
    """The windowed field, and each window's token indices (P, T, L), first cell first."""
    correct = Switches()
    if any(getattr(switches, name) != getattr(correct, name) for name in ("window_clamp", "offset", "parity")):
        return switched_flow(q_FSE, k_FSE, pairs, grid, scale, window, switches)
    field, corner_PT2 = windowed_flow(
        q_FSE,
        k_FSE,
        pairs,
        grid,
        scale,
        tile=(window.tile[0], window.tile[1]),
        side=window.l,
        query=window.query,
        centre_gradient=window.centre_gradient,
    )
    return field, window_index(corner_PT2, grid[1:], window.l)


def released_flow(
    q_FSE: Tensor,
    k_FSE: Tensor,
    pairs: Pairs,
    grid: tuple[int, int, int],
    scale: float,
    window: Window,
    switches: Switches,
) -> tuple[MotionField, Tensor | None]:
    """The field of all pairs: dense from a frame to itself, windowed otherwise.

    ``pairs`` of frames with themselves come first. Also the token indices (P', T, L) of the P' windowed
    pairs; None with ``window.l=0``, where all is dense.
    """
    if window.l == 0:
        return full_flow(q_FSE, k_FSE, pairs, grid, scale), None
    own = tuple((i, j) for i, j in pairs if i == j)
    field, index_PTL = released_windowed_flow(q_FSE, k_FSE, between_frames(pairs), grid, scale, window, switches)
    if not own:
        return field, index_PTL
    within = full_flow(q_FSE, k_FSE, own, grid, scale)
    return MotionField(torch.cat([within.flow_PS2, field.flow_PS2]), pairs, grid), index_PTL


def tracked_keys(
    k_FSE: Tensor, pairs: Pairs, index_PTL: Tensor, grid: tuple[int, int, int], window: Window, switches: Switches
) -> Tensor:
    """What the corresponding-window loss follows: (P, T, E) means over cells, or (P, T, L) over channels."""
    k_FSE = at_least_float32(k_FSE)
    if switches.key_mean == "channels":
        _, target_P = sources_and_targets(pairs, k_FSE.device)
        return k_FSE.mean(-1)[target_P[:, None, None], index_PTL]
    if switches.window_clamp == "positions":  # not a rectangle of distinct cells
        return torch.stack([k_FSE[j][index_TL].mean(1) for (_, j), index_TL in zip(pairs, index_PTL, strict=True)])
    first_PT = index_PTL[..., 0]
    corner_PT2 = torch.stack([first_PT // grid[2], first_PT % grid[2]], -1)
    return window_means(k_FSE, pairs, corner_PT2, grid, window.l)


def released_window_loss(tracked_PTE: Tensor, pairs: Pairs, switches: Switches) -> Tensor:
    """``window_loss``, or the same with the distance in place of its square."""
    if switches.window_norm == "squared":
        return window_loss(tracked_PTE, pairs)
    changes = [k_JTE[1:] - k_JTE[:-1] for k_JTE in with_two_targets(tracked_PTE, pairs)]
    terms = [torch.linalg.vector_norm(change_JTE, dim=-1).mean() for change_JTE in changes]
    return torch.stack(terms).mean() if terms else tracked_PTE.new_zeros(())


def spatial_reduction(switches: Switches, guidance: Reduction) -> Reduction:
    """How the motion loss is reduced over tokens: as the switch says, or as guidance does."""
    return guidance if switches.spatial_reduction == "guidance" else Reduction(switches.spatial_reduction)
