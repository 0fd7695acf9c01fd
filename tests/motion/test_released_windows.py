"""The released code's windows against nested loops and closed forms: clamp, offset and parity."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fastvmt.motion.pairs import frame_pairs
from fastvmt.motion.released import clamped_cells, expected_coordinates, released_flow, thin, tracked_keys
from fastvmt.motion.switches import Switches
from fastvmt.motion.window import window_offsets
from fastvmt.settings import TileQuery, Window
from helpers.released_loops import CORRECT, Grid, features, loop_flow


@pytest.mark.parametrize("clamp", ["centre", "positions"])
@pytest.mark.parametrize("offset", ["absolute", "missing"])
@pytest.mark.parametrize("parity", ["off", "zero_coord", "subsample"])
@pytest.mark.parametrize(
    ("grid", "tile", "l", "query"),
    [((3, 6, 7), [2, 3], 3, TileQuery.centre), ((2, 5, 9), [2, 2], 5, TileQuery.mean)],
)
def test_windows_equal_nested_loops(
    grid: Grid, tile: list[int], l: int, query: TileQuery, clamp: str, offset: str, parity: str
) -> None:
    switches = Switches(window_clamp=clamp, offset=offset, parity=parity, key_mean="channels")
    window = Window(l=l, sf=2, tile=tile, query=query, centre_gradient=False)
    q, k = features(grid, seed=l)
    pairs = frame_pairs(grid[0], 2)
    field, index = released_flow(q, k, pairs, grid, 1.7, window, switches)
    flow, windows = loop_flow(q.numpy(), k.numpy(), pairs, grid, 1.7, window, switches)
    np.testing.assert_allclose(field.flow_PS2, flow, atol=1e-12)
    expected = [
        [[k[j, r * grid[2] + c].mean() for r, c in cells] for cells in tiles]
        for (_, j), tiles in zip(pairs, windows, strict=True)
    ]
    np.testing.assert_allclose(tracked_keys(k, pairs, index, grid, window, switches), expected)
    over_cells = [
        [np.mean([k[j, r * grid[2] + c].numpy() for r, c in cells], axis=0) for cells in tiles]
        for (_, j), tiles in zip(pairs, windows, strict=True)
    ]
    tracked = tracked_keys(k, pairs, index, grid, window, replace(switches, key_mean="window"))
    np.testing.assert_allclose(tracked, over_cells)


@pytest.mark.parametrize(("height", "width", "l"), [(30, 52, 21), (12, 12, 5), (5, 9, 5)])
def test_clamped_cells_reach_only_the_middle_of_the_frame(height: int, width: int, l: int) -> None:
    half = l // 2
    centres = torch.cartesian_prod(torch.arange(height), torch.arange(width)).float()
    cells = clamped_cells(centres, (height, width), l)
    reached = {tuple(cell) for cell in cells.flatten(0, 1).unique(dim=0).tolist()}
    assert reached == set(itertools.product(range(half, height - half), range(half, width - half)))


def test_clamped_windows_of_the_papers_grid() -> None:
    """30 x 52 tokens, l = 21: 320 of 1560 keys can be reached; the middle window has 10 rows, an upper one 1."""
    every = clamped_cells(torch.cartesian_prod(torch.arange(30.0), torch.arange(52.0)), (30, 52), 21)
    assert len((52 * every[..., 0] + every[..., 1]).unique()) == 320
    middle, upper = clamped_cells(torch.tensor([[15.0, 25.0], [0.0, 25.0]]), (30, 52), 21)
    assert (len(middle), len(middle.unique(dim=0))) == (441, 10 * 21)
    assert upper[:, 0].unique().tolist() == [10]
    assert len(upper.unique(dim=0)) == 21


def test_clamped_cells_are_truncated_after_the_clamp() -> None:
    cells = clamped_cells(torch.tensor([3.9, 4.2]), (9, 9), 3)
    assert cells[:, 0].unique().tolist() == [2, 3, 4]  # 2.9, 3.9, 4.9
    assert cells[:, 1].unique().tolist() == [3, 4, 5]


def shifted(grid: Grid, shift: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Unique features: what frame 0 has at p, frame 1 has at p + shift."""
    _, height, width = grid
    q, k = torch.eye(height * width).expand(2, -1, -1) * 200, torch.zeros(2, height * width, height * width)
    for r, c in itertools.product(range(height), range(width)):
        if 0 <= r + shift[0] < height and 0 <= c + shift[1] < width:
            k[1, (r + shift[0]) * width + c + shift[1], r * width + c] = 1.0
    return q, k


@pytest.mark.parametrize(("l", "tile"), [(5, (3, 4)), (7, (3, 2)), (9, (1, 3))])
def test_without_the_offset_every_translation_looks_the_same(l: int, tile: tuple[int, int]) -> None:
    """a minus the place of the tile's middle, whatever moved: 0, 4 and 8 columns give one number."""
    grid, half, pairs = (2, 12, 30), l // 2, frame_pairs(2, 1)
    middles = tile[0] // 2, tile[1] // 2
    for shift in ((0, 0), (0, 4), (0, 8), (2, -3)):
        window = Window(l=l, sf=1, tile=list(tile), centre_gradient=False)
        q, k = shifted(grid, shift)
        missing, _ = released_flow(q, k, pairs, grid, 1.0, window, Switches(offset="missing"))
        absolute, _ = released_flow(q, k, pairs, grid, 1.0, window, CORRECT)
        inner = torch.zeros(12, 30, dtype=torch.bool)
        for top, left in itertools.product(range(0, 12, tile[0]), range(0, 30, tile[1])):
            at = top + middles[0] + shift[0], left + middles[1] + shift[1]
            if half <= at[0] < 12 - half and half <= at[1] < 30 - half and left + tile[1] <= 30:
                inner[top : top + tile[0], left : left + tile[1]] = True
        seen = inner.flatten()
        assert seen.sum() >= 20
        constant = torch.tensor([half - middles[0], half - middles[1]]).float()
        torch.testing.assert_close(missing.flow_PS2[0, seen], constant.expand(int(seen.sum()), 2))
        torch.testing.assert_close(absolute.flow_PS2[0, seen], torch.tensor(shift).float().expand(int(seen.sum()), 2))


@pytest.mark.parametrize("l", [3, 5, 9, 21])
def test_parity_shrinks_uniform_attention(l: int) -> None:
    """The centre is (l - 1) / 2; with odd cells at zero (l - 1) (l^2 + 1) / (4 l^2): 5.01, not 10, for l = 21."""
    uniform = torch.full((1, 1, l * l), 1 / l**2)
    offsets, index, tile_S = window_offsets((30, 52), l), torch.arange(l * l), torch.zeros(1, dtype=torch.long)

    def centroid(parity: str) -> float:
        kept, coordinates = thin(index, offsets, Switches(parity=parity))
        attention = uniform if len(kept) == l * l else torch.full((1, 1, len(kept)), 1 / len(kept))
        row, column = expected_coordinates(attention, coordinates, tile_S)[0, 0].tolist()
        assert row == pytest.approx(column, rel=1e-5)
        return row

    assert centroid("off") == pytest.approx((l - 1) / 2, rel=1e-5)
    assert centroid("subsample") == pytest.approx((l - 1) / 2, rel=1e-5)
    assert centroid("zero_coord") == pytest.approx((l - 1) * (l**2 + 1) / (4 * l**2), rel=1e-5)
    assert len(thin(index, offsets, Switches(parity="subsample"))[0]) == (l * l + 1) // 2
    if l == 21:
        assert centroid("zero_coord") == pytest.approx(5.0113, abs=1e-4)


def test_parity_of_uniform_attention_through_the_flow() -> None:
    grid, pairs, window = (2, 9, 9), frame_pairs(2, 1), Window(l=5, sf=1, tile=[3, 3])
    q, k = torch.zeros(2, 81, 4), torch.randn(2, 81, 4, generator=torch.Generator().manual_seed(0))
    field, _ = released_flow(q, k, pairs, grid, 1.0, window, Switches(offset="missing", parity="zero_coord"))
    in_tile = torch.tensor([(r % 3, c % 3) for r in range(9) for c in range(9)])
    torch.testing.assert_close(field.flow_PS2[0], 4 * 26 / 100 - in_tile.float())
