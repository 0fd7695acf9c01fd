"""The released code's arithmetic of attention motion flow, switch by switch; see ``Switches``.

Pure functions beside the correct ones of :mod:`fastvmt.motion.flow` and :mod:`fastvmt.motion.losses`,
which they call wherever a switch is at its correct form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastvmt.motion.flow import at_least_float32, frame_logits, full_flow, targets_of, tile_logits, window_means
from fastvmt.motion.heads import reduce_heads
from fastvmt.motion.losses import amf_loss, window_loss
from fastvmt.motion.pairs import frame_pairs, pair_weights
from fastvmt.motion.switches import Switches
from fastvmt.motion.window import (
    clamp_centre,
    tile_index,
    tile_of_token,
    token_positions,
    window_corner,
    window_index,
    window_offsets,
)
from fastvmt.settings import HeadReduce, Window
from fastvmt.types import MotionField


def scramble_heads(x_FSND: Tensor) -> Tensor:
    """(F, S, D) whose token g N + r, counted over all frames, is head r averaged over tokens g N .. g N + N - 1.

    Raises ``ValueError`` unless the tokens of all frames are a multiple of the heads.
    """
    frames, tokens, heads, _ = x_FSND.shape
    if frames * tokens % heads:
        raise ValueError(
            f"method.switches.head_reduce=official_scramble needs a multiple of {heads} tokens, one per head; "
            f"{frames} frames have {frames * tokens}"
        )
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


def released_pairs(frames: int, sf: int, switches: Switches) -> Tensor:
    """(P, 2) pairs: of every frame with itself if so switched, then i < j <= i + sf, or i + sf - 1."""
    pairs = frame_pairs(frames, sf if switches.pair_range == "paper" else sf - 1)
    if switches.self_pairs:
        return torch.cat([torch.arange(frames)[:, None].expand(-1, 2), pairs])
    return pairs


def between_frames(pairs_P2: Tensor) -> Tensor:
    """Without the pairs of a frame with itself."""
    return pairs_P2[pairs_P2[:, 0] != pairs_P2[:, 1]]


def released_weights(pairs_P2: Tensor, sf: int, alpha: float, switches: Switches) -> Tensor:
    """(P,) weights: 1 at distance 0, from 1 at the nearest to 1 - alpha at distance sf; or at sf - 1, from 0."""
    distance = pairs_P2[:, 1] - pairs_P2[:, 0]
    if switches.pair_range == "code":
        return 1 - alpha * distance.float() / max(sf - 1, 1)
    return torch.where(distance == 0, 1.0, pair_weights(pairs_P2, sf, alpha))


def clamped_cells(centre: Tensor, grid: tuple[int, int], l: int) -> Tensor:  # noqa: E741
    """(..., L, 2) int64 (row, column) of the cells around soft centres, each clamped to a .. extent - 1 - a.

    ``l`` is at most the grid's sides.
    """
    half = l // 2
    steps = torch.arange(-half, half + 1, device=centre.device)
    rows, columns = (
        (at[..., None] + steps).clamp(half, extent - 1 - half).long()
        for at, extent in zip(centre.unbind(-1), grid, strict=True)
    )
    shape = (*centre.shape[:-1], l, l)
    return torch.stack([rows[..., :, None].expand(shape), columns[..., None, :].expand(shape)], -1).flatten(-3, -2)


def place_windows(
    centre: Tensor,
    grid: tuple[int, int],
    l: int,  # noqa: E741
    switches: Switches,
) -> tuple[Tensor, Tensor, Tensor]:
    """Windows around soft centres (..., 2), as the switches say.

    Token indices (..., L), coordinates (L, 2) or (..., L, 2) of the cells relative to the window's first,
    and the first cells (..., 2).
    """
    offsets = window_offsets(grid, l, centre.device).to(centre.dtype)
    if switches.window_clamp == "centre":
        corner = window_corner(clamp_centre(centre, grid, l), grid, l)
        return window_index(corner, grid, l), offsets, corner
    cells = clamped_cells(centre, grid, l)
    index, corner = cells[..., 0] * grid[1] + cells[..., 1], cells[..., 0, :]
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


def released_windowed_flow(
    q_FSE: Tensor,
    k_FSE: Tensor,
    pairs_P2: Tensor,
    grid: tuple[int, int, int],
    scale: float,
    window: Window,
    switches: Switches,
) -> tuple[MotionField, Tensor]:
    """``windowed_flow`` under switches 2 to 4, and each window's token indices (P, T, L), first cell first."""
    frame, tile = grid[1:], (window.tile[0], window.tile[1])
    q_FSE, k_FSE = at_least_float32(q_FSE), at_least_float32(k_FSE)
    positions = token_positions(*frame, device=q_FSE.device).to(q_FSE.dtype)
    in_tile_S2 = positions % torch.tensor(tile, device=q_FSE.device)
    index_Tt = tile_index(*frame, tile).to(q_FSE.device)
    tile_S = tile_of_token(*frame, tile).to(q_FSE.device)
    flows, indices = [], []
    for i in pairs_P2[:, 0].unique().tolist():
        logits_JSS = frame_logits(q_FSE[i], k_FSE[targets_of(i, pairs_P2)], scale)
        coarse_JTS = tile_logits(logits_JSS, index_Tt, tile, window.query)
        soft_JT2 = coarse_JTS.softmax(-1) @ positions
        index_JTL, coordinates, corner_JT2 = place_windows(soft_JT2.detach(), frame, window.l, switches)
        kept_JTL, coordinates = thin(index_JTL, coordinates, switches)
        attention_JSL = logits_JSS.gather(-1, kept_JTL[:, tile_S]).softmax(-1)
        flow = expected_coordinates(attention_JSL, coordinates, tile_S)
        if switches.offset == "missing":
            flow = flow - in_tile_S2
        else:
            flow = corner_JT2[:, tile_S] + flow
            if window.centre_gradient:
                centre_JT2 = clamp_centre(soft_JT2, frame, window.l)
                flow = flow + (centre_JT2 - centre_JT2.detach())[:, tile_S]
            flow = flow - positions
        flows.append(flow)
        indices.append(index_JTL)
    return MotionField(torch.cat(flows), pairs_P2, grid), torch.cat(indices)


def released_flow(
    q_FSE: Tensor,
    k_FSE: Tensor,
    pairs_P2: Tensor,
    grid: tuple[int, int, int],
    scale: float,
    window: Window,
    switches: Switches,
) -> tuple[MotionField, Tensor | None]:
    """The field of all pairs: dense from a frame to itself, windowed otherwise.

    Also the token indices (P', T, L) of the P' windowed pairs; None with ``window.l=0``, where all is dense.
    """
    if window.l == 0:
        return full_flow(q_FSE, k_FSE, pairs_P2, grid, scale), None
    within = pairs_P2[:, 0] == pairs_P2[:, 1]
    field, index_PTL = released_windowed_flow(q_FSE, k_FSE, between_frames(pairs_P2), grid, scale, window, switches)
    if not within.any():
        return field, index_PTL
    own = full_flow(q_FSE, k_FSE, pairs_P2[within], grid, scale)
    return MotionField(torch.cat([own.flow_PS2, field.flow_PS2]), pairs_P2, grid), index_PTL


def tracked_keys(
    k_FSE: Tensor, pairs_P2: Tensor, index_PTL: Tensor, grid: tuple[int, int, int], window: Window, switches: Switches
) -> Tensor:
    """What the corresponding-window loss follows: (P, T, E) means over cells, or (P, T, L) over channels."""
    k_FSE, target_P = at_least_float32(k_FSE), pairs_P2[:, 1]
    if switches.key_mean == "channels":
        return k_FSE.mean(-1)[target_P[:, None, None], index_PTL]
    if switches.window_clamp == "positions":  # not a rectangle of distinct cells
        return torch.stack([k_SE[index_TL].mean(1) for k_SE, index_TL in zip(k_FSE[target_P], index_PTL, strict=True)])
    first_PT = index_PTL[..., 0]
    corner_PT2 = torch.stack([first_PT // grid[2], first_PT % grid[2]], -1)
    return window_means(k_FSE, pairs_P2, corner_PT2, grid, window.l)


def released_window_loss(tracked_PTE: Tensor, pairs_P2: Tensor, switches: Switches) -> Tensor:
    """``window_loss``, or the same with the distance in place of its square."""
    if switches.window_norm == "squared":
        return window_loss(tracked_PTE, pairs_P2)
    targets = [tracked_PTE[pairs_P2[:, 0] == i] for i in pairs_P2[:, 0].unique().tolist()]
    terms = [torch.linalg.vector_norm(JTE[1:] - JTE[:-1], dim=-1).mean() for JTE in targets if len(JTE) > 1]
    return torch.stack(terms).mean() if terms else tracked_PTE.new_zeros(())


def released_amf_loss(generated: MotionField, reference: MotionField, weight_P: Tensor, switches: Switches) -> Tensor:
    """``amf_loss``, or the same summed over the tokens of a frame."""
    mean = amf_loss(generated, reference, weight_P)
    return mean if switches.spatial_reduction == "mean" else mean * generated.flow_PS2.shape[1]
