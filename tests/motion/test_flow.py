"""Attention motion flow against oracles, closed forms and properties."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastvmt.motion.flow import full_flow
from fastvmt.motion.heads import reduce_heads
from fastvmt.motion.losses import amf_loss, window_loss
from fastvmt.motion.pairs import frame_pairs, pair_weights
from fastvmt.motion.window import clamp_centre, tile_centre, tile_index, tile_of_token, window_corner, window_index
from fastvmt.motion.windowed import window_means, windowed_flow
from fastvmt.settings import HeadReduce, TileQuery
from fastvmt.types import Pairs

Grid = tuple[int, int, int]


def features(grid: Grid, width: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Random queries and keys (F, S, E) that want a gradient."""
    generator = torch.Generator().manual_seed(seed)
    shape = (grid[0], grid[1] * grid[2], width)
    q, k = (torch.randn(shape, generator=generator, dtype=dtype).requires_grad_(True) for _ in range(2))
    return q, k


def shifted(grid: Grid, shift: tuple[int, int], peak: float = 200.0) -> tuple[Tensor, Tensor]:
    """Unique features: what frame 0 has at p, frame 1 has at p + shift; cells that enter are blank."""
    _, height, width = grid
    q = torch.eye(height * width).expand(2, -1, -1) * peak
    k = torch.zeros(2, height * width, height * width)
    for row, column in itertools.product(range(height), range(width)):
        to = row + shift[0], column + shift[1]
        if 0 <= to[0] < height and 0 <= to[1] < width:
            k[1, to[0] * width + to[1], row * width + column] = 1.0
    return q, k


def inside(grid: Grid, shift: tuple[int, int]) -> Tensor:
    """(S,) whether a token's target lies in the frame."""
    rows, columns = torch.meshgrid(torch.arange(grid[1]), torch.arange(grid[2]), indexing="ij")
    rows, columns = rows + shift[0], columns + shift[1]
    return ((rows >= 0) & (rows < grid[1]) & (columns >= 0) & (columns < grid[2])).flatten()


def expectation(query: Tensor, keys: Tensor, cells: list[tuple[int, int]], scale: float) -> tuple[float, float]:
    """Expected (row, column) of one query over the keys of the given cells."""
    weights = [math.exp(scale * float(query @ key)) for key in keys]
    total = sum(weights)
    return (
        sum(w * cell[0] for w, cell in zip(weights, cells, strict=True)) / total,
        sum(w * cell[1] for w, cell in zip(weights, cells, strict=True)) / total,
    )


def loop_flow(
    q: Tensor, k: Tensor, pairs: Pairs, grid: Grid, scale: float, tile: tuple[int, int], l: int, mean: bool
) -> tuple[Tensor, Tensor]:
    """``windowed_flow`` written as nested loops over pairs, tiles and tokens."""
    _, height, width = grid
    frame = list(itertools.product(range(height), range(width)))
    sides = min(l, height), min(l, width)
    flow, means = torch.zeros(len(pairs), height, width, 2, dtype=q.dtype), []
    for p, (i, j) in enumerate(pairs):
        for top, left in itertools.product(range(0, height, tile[0]), range(0, width, tile[1])):
            cells = [c for c in frame if top <= c[0] < top + tile[0] and left <= c[1] < left + tile[1]]
            middle = (top + tile[0] // 2, left + tile[1] // 2)
            middle = middle if middle in cells else cells[-1]
            own = torch.stack([q[i, r * width + c] for r, c in (cells if mean else [middle])]).mean(0)
            centre = expectation(own, k[j], frame, scale)
            starts = [
                min(max(round(at) - side // 2, 0), extent - side)
                for at, side, extent in zip(centre, sides, (height, width), strict=True)
            ]
            window = list(itertools.product(*(range(s, s + side) for s, side in zip(starts, sides, strict=True))))
            keys = torch.stack([k[j, r * width + c] for r, c in window])
            means.append(keys.mean(0))
            for r, c in cells:
                to = expectation(q[i, r * width + c], keys, window, scale)
                flow[p, r, c] = torch.tensor([to[0] - r, to[1] - c])
    return flow.flatten(1, 2), torch.stack(means).unflatten(0, (len(pairs), -1))


@pytest.mark.parametrize("query", list(TileQuery))
@pytest.mark.parametrize(
    ("grid", "tile", "l", "sf"),
    [((3, 4, 6), (2, 2), 3, 2), ((2, 5, 7), (2, 3), 3, 1), ((4, 3, 8), (3, 4), 5, 3), ((2, 7, 4), (1, 1), 1, 1)],
)
def test_windowed_flow_equals_nested_loops(
    grid: Grid, tile: tuple[int, int], l: int, sf: int, query: TileQuery
) -> None:
    q, k = (t.detach() for t in features(grid, seed=grid[1]))
    pairs = frame_pairs(grid[0], sf)
    field, corners = windowed_flow(q, k, pairs, grid, 0.9, tile=tile, side=l, query=query)
    means = window_means(k, pairs, corners, grid, l)
    flow, expected_means = loop_flow(q, k, pairs, grid, 0.9, tile, l, query is TileQuery.mean)
    torch.testing.assert_close(field.flow_PS2, flow)
    torch.testing.assert_close(means, expected_means)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    grid=st.tuples(st.integers(2, 4), st.integers(1, 7), st.integers(1, 7)),
    tile=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    extra=st.integers(0, 2),
    sf=st.integers(1, 4),
    query=st.sampled_from(list(TileQuery)),
    centre_gradient=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_a_window_that_covers_the_frame_is_the_dense_flow(
    grid: Grid, tile: tuple[int, int], extra: int, sf: int, query: TileQuery, centre_gradient: bool, seed: int
) -> None:
    q, k = features(grid, seed=seed)
    pairs = frame_pairs(grid[0], sf)
    l = (max(grid[1:]) | 1) + 2 * extra
    dense = full_flow(q, k, pairs, grid, 0.7)
    windowed, corners = windowed_flow(
        q, k, pairs, grid, 0.7, tile=tile, side=l, query=query, centre_gradient=centre_gradient
    )
    means = window_means(k, pairs, corners, grid, l)
    torch.testing.assert_close(windowed.flow_PS2, dense.flow_PS2)
    torch.testing.assert_close(means, k.mean(1)[[j for _, j in pairs]][:, None].expand_as(means))
    probe = torch.randn(dense.flow_PS2.shape, generator=torch.Generator().manual_seed(seed), dtype=q.dtype)
    expected = torch.autograd.grad((dense.flow_PS2 * probe).sum(), (q, k))
    actual = torch.autograd.grad((windowed.flow_PS2 * probe).sum(), (q, k))
    torch.testing.assert_close(actual, expected)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    grid=st.tuples(st.integers(2, 4), st.integers(1, 8), st.integers(1, 8)),
    tile=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    half=st.integers(0, 4),
    sf=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
def test_every_expected_position_lies_in_the_frame(
    grid: Grid, tile: tuple[int, int], half: int, sf: int, seed: int
) -> None:
    q, k = features(grid, seed=seed, dtype=torch.float32)
    pairs = frame_pairs(grid[0], sf)
    field, corners = windowed_flow(q, k, pairs, grid, 3.0, tile=tile, side=2 * half + 1)
    means = window_means(k, pairs, corners, grid, 2 * half + 1)
    rows, columns = torch.meshgrid(torch.arange(grid[1]), torch.arange(grid[2]), indexing="ij")
    target = field.flow_PS2 + torch.stack([rows, columns], -1).flatten(0, 1)
    assert field.flow_PS2.shape == (len(pairs), grid[1] * grid[2], 2)
    assert means.shape == (len(pairs), math.ceil(grid[1] / tile[0]) * math.ceil(grid[2] / tile[1]), 6)
    assert (target > -1e-4).all()
    assert (target < torch.tensor(grid[1:]) - 1 + 1e-4).all()


@pytest.mark.parametrize("grid", [(2, 6, 8), (2, 7, 5)])
@pytest.mark.parametrize("shift", list(itertools.product((-4, -2, -1, 0, 1, 3), (-3, -1, 0, 2, 4))))
def test_dense_flow_recovers_a_shift_up_to_the_borders(grid: Grid, shift: tuple[int, int]) -> None:
    q, k = shifted(grid, shift)
    field = full_flow(q, k, frame_pairs(2, 1), grid, 1.0)
    seen = inside(grid, shift)
    assert seen.any()
    torch.testing.assert_close(field.flow_PS2[0, seen], torch.tensor(shift).float().expand(int(seen.sum()), 2))


@pytest.mark.parametrize(("grid", "tile"), [((2, 6, 8), (2, 2)), ((2, 7, 9), (3, 2)), ((2, 8, 8), (3, 3))])
@pytest.mark.parametrize("shift", list(itertools.product((-4, -1, 0, 1, 3), (-3, -1, 0, 2, 4))))
def test_windowed_flow_recovers_a_shift_up_to_the_borders(
    grid: Grid, tile: tuple[int, int], shift: tuple[int, int]
) -> None:
    """Wherever the token's target is inside and its tile's middle, which places the window, is matched."""
    q, k = shifted(grid, shift)
    field, _ = windowed_flow(q, k, frame_pairs(2, 1), grid, 1.0, tile=tile, side=5)
    index = tile_index(*grid[1:], tile)
    placed = torch.zeros(grid[1] * grid[2], dtype=torch.bool)
    placed[index[inside(grid, shift)[tile_centre(index, tile)]].flatten().clamp(min=0)] = True
    placed[0] = inside(grid, shift)[tile_centre(index, tile)[0]]  # -1 of a cut tile was clamped to 0
    seen = inside(grid, shift) & placed
    assert seen.any()
    torch.testing.assert_close(field.flow_PS2[0, seen], torch.tensor(shift).float().expand(int(seen.sum()), 2))


@pytest.mark.parametrize("l", [0, 3, 9])
def test_gradients_match_finite_differences(l: int) -> None:
    grid, pairs = (3, 3, 4), frame_pairs(3, 2)
    q, k = features(grid, width=3, seed=5)
    reference = full_flow(*(t.detach() for t in features(grid, width=3, seed=6)), pairs, grid, 1.0)

    def loss(q: Tensor, k: Tensor) -> Tensor:
        if l == 0:
            return amf_loss(full_flow(q, k, pairs, grid, 1.0), reference, pair_weights(pairs, 2, 0.2).double())
        field, corners = windowed_flow(q, k, pairs, grid, 1.0, tile=(2, 2), side=l)
        means = window_means(k, pairs, corners, grid, l)
        return amf_loss(field, reference, pair_weights(pairs, 2, 0.2).double()) + window_loss(means, pairs)

    assert torch.autograd.gradcheck(loss, (q, k))


def test_half_precision_is_computed_in_float32() -> None:
    grid, pairs = (2, 4, 4), frame_pairs(2, 1)
    q, k = (t.detach().bfloat16() for t in features(grid))
    expected = full_flow(q.float(), k.float(), pairs, grid, 1.0).flow_PS2
    assert torch.equal(full_flow(q, k, pairs, grid, 1.0).flow_PS2, expected)
    field, _ = windowed_flow(q, k, pairs, grid, 1.0, tile=(2, 2), side=3)
    expected = windowed_flow(q.float(), k.float(), pairs, grid, 1.0, tile=(2, 2), side=3)[0].flow_PS2
    assert torch.equal(field.flow_PS2, expected)


def test_centre_gradient_adds_the_gradient_of_the_soft_centre_and_leaves_values() -> None:
    grid, pairs, tile, l = (2, 6, 8), frame_pairs(2, 1), (2, 2), 3
    q, k = features(grid, seed=3)
    index = tile_index(*grid[1:], tile)
    fields = [
        windowed_flow(q, k, pairs, grid, 0.8, tile=tile, side=l, centre_gradient=on)[0].flow_PS2 for on in (False, True)
    ]
    assert torch.equal(*fields)
    probe = torch.randn(fields[0].shape, generator=torch.Generator().manual_seed(1), dtype=q.dtype)
    without, with_centre = (torch.autograd.grad((flow * probe).sum(), (q, k)) for flow in fields)
    positions = torch.cartesian_prod(torch.arange(6.0), torch.arange(8.0)).double()
    centre = (0.8 * q[0][tile_centre(index, tile)] @ k[1].T).softmax(-1) @ positions
    centre = torch.stack([centre[:, 0].clamp(1, 4), centre[:, 1].clamp(1, 6)], -1)
    soft = torch.autograd.grad((centre * probe[0][index].sum(1)).sum(), (q, k))
    assert all(s.abs().max() > 1e-3 for s in soft)
    for a, b, s in zip(with_centre, without, soft, strict=True):
        torch.testing.assert_close(a, b + s)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    half=st.integers(0, 5),
    at=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_window_is_whole_distinct_and_holds_its_centre(
    height: int, width: int, half: int, at: tuple[float, float]
) -> None:
    l = 2 * half + 1
    centre = torch.tensor([at[0] * (height - 1), at[1] * (width - 1)])
    for place in (centre, clamp_centre(centre, (height, width), l)):
        index = window_index(window_corner(place, (height, width), l), (height, width), l).tolist()
        assert len(index) == len(set(index)) == min(l, height) * min(l, width)
        assert min(index) >= 0
        assert max(index) < height * width
        assert index == sorted(index)
        row, column = (round(float(x)) for x in place)
        assert row * width + column in index
    first = window_corner(centre, (height, width), l)
    assert window_index(first, (height, width), l).tolist() == index  # clamping first changes no window


@pytest.mark.parametrize(("height", "width", "tile"), [(6, 8, (2, 2)), (5, 7, (2, 3)), (3, 4, (3, 4)), (2, 2, (3, 3))])
def test_tiles_partition_the_frame(height: int, width: int, tile: tuple[int, int]) -> None:
    index = tile_index(height, width, tile)
    assert sorted(index[index >= 0].tolist()) == list(range(height * width))
    rows, columns = index // width, index % width
    for tokens, r, c in zip(index, rows, columns, strict=True):
        valid = tokens >= 0
        assert (r[valid] // tile[0]).unique().numel() == (c[valid] // tile[1]).unique().numel() == 1
    assert all(c in tokens for c, tokens in zip(tile_centre(index, tile), index, strict=True))
    owner = tile_of_token(height, width, tile)
    assert all((owner[tokens[tokens >= 0]] == number).all() for number, tokens in enumerate(index))


@pytest.mark.parametrize("how", list(HeadReduce))
def test_reduced_heads_give_the_logits_that_their_name_says(how: HeadReduce) -> None:
    generator = torch.Generator().manual_seed(0)
    q_FSND, k_FSND = (torch.randn(2, 5, 3, 4, generator=generator) for _ in range(2))
    q, k, scale = reduce_heads(q_FSND, k_FSND, how)
    logits = scale * torch.einsum("fse,fte->fst", q, k)
    per_head = [[q_FSND[:, :, a] @ k_FSND[:, :, b].mT / 2 for b in range(3)] for a in range(3)]  # sqrt(4) = 2
    if how is HeadReduce.mean_logit:
        expected = sum(per_head[a][a] for a in range(3)) / 3
    else:
        expected = sum(per_head[a][b] for a in range(3) for b in range(3)) / 9
    torch.testing.assert_close(logits, expected)
