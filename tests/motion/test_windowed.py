"""The windowed flow's own gradient: against attention over whole frames, finite differences, and what it keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from fastvmt.motion import windowed
from fastvmt.motion.losses import amf_loss, window_loss
from fastvmt.motion.pairs import by_source, frame_pairs, pair_weights
from fastvmt.motion.window import clamp_centre, in_tiles, out_of_tiles, tile_of_token, token_positions, window_corner
from fastvmt.motion.windowed import tile_queries, window_means, windowed_flow
from fastvmt.settings import TileQuery
from fastvmt.types import MotionField, Pairs

Grid = tuple[int, int, int]


def features(grid: Grid, width: int = 5, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Random queries and keys (F, S, E) that want a gradient."""
    generator = torch.Generator().manual_seed(grid[1])
    shape = (grid[0], grid[1] * grid[2], width)
    q, k = (torch.randn(shape, generator=generator, dtype=dtype).requires_grad_(True) for _ in range(2))
    return q, k


def masked_flow(
    q: Tensor, k: Tensor, pairs: Pairs, grid: Grid, scale: float, tile: tuple[int, int], side: int, how: tuple
) -> Tensor:
    """The windowed flow as attention to whole frames, whose keys outside the window are masked."""
    query, centre_gradient = how
    frame = grid[1:]
    positions = token_positions(*frame).to(q.dtype)
    sides = torch.tensor([min(side, extent) for extent in frame])
    owner = tile_of_token(*frame, tile)
    flows = []
    for i, j in pairs:
        coarse = (scale * tile_queries(q, frame, tile, query)[i] @ k[j].T).softmax(-1)
        centre = clamp_centre(coarse @ positions, frame, side)
        first = window_corner(centre.detach(), frame, side)[owner]
        inside = ((positions >= first[:, None]) & (positions < (first + sides)[:, None])).all(-1)
        logits = (scale * q[i] @ k[j].T).masked_fill(~inside, -torch.inf)
        expected = logits.softmax(-1) @ positions
        if centre_gradient:
            expected = expected + (centre - centre.detach())[owner]
        flows.append(expected - positions)
    return torch.stack(flows)


HOW = [(query, centre) for query in TileQuery for centre in (False, True)]
SHAPES = [((3, 4, 6), (2, 2), 3), ((2, 5, 7), (2, 3), 5), ((3, 3, 8), (3, 4), 5), ((2, 4, 4), (3, 3), 9)]


@pytest.mark.parametrize("values", [1, 700, 2**19])
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("grid", "tile", "side"), SHAPES)
def test_flow_and_gradients_are_those_of_masked_attention(
    grid: Grid, tile: tuple[int, int], side: int, how: tuple, values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many windows are handled at a time."""
    monkeypatch.setattr(windowed, "CACHE_VALUES", values)
    q, k = features(grid)
    pairs = frame_pairs(grid[0], 2)
    field, _ = windowed_flow(q, k, pairs, grid, 0.9, tile=tile, side=side, query=how[0], centre_gradient=how[1])
    expected = masked_flow(q, k, pairs, grid, 0.9, tile, side, how)
    torch.testing.assert_close(field.flow_PS2, expected)
    probe = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=q.dtype)
    actual = torch.autograd.grad(field.flow_PS2, (q, k), probe)
    torch.testing.assert_close(actual, torch.autograd.grad(expected, (q, k), probe))


@pytest.mark.parametrize("sharpness", [1.0, 20.0])
def test_in_float32_the_gradient_is_as_exact_as_that_of_masked_attention(sharpness: float) -> None:
    grid, how = (3, 9, 12), (TileQuery.centre, False)
    pairs = frame_pairs(3, 2)
    probe = torch.randn(len(pairs), 108, 2, generator=torch.Generator().manual_seed(1))

    def gradients(dtype: torch.dtype, masked: bool) -> Tensor:
        q, k = (x.detach().to(dtype).requires_grad_(True) for x in features(grid, 32, torch.float32))
        scale = sharpness * 32**-0.5
        if masked:
            flow = masked_flow(q, k, pairs, grid, scale, (3, 4), 5, how)
        else:
            flow = windowed_flow(q, k, pairs, grid, scale, tile=(3, 4), side=5)[0].flow_PS2
        return torch.stack(torch.autograd.grad(flow, (q, k), probe.to(dtype))).double()

    exact = gradients(torch.float64, masked=True)
    ours, other = ((gradients(torch.float32, masked) - exact).norm() / exact.norm() for masked in (False, True))
    assert ours < 1.5 * other
    assert ours < 2e-6 * sharpness


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("grid", "tile", "side"), [((3, 3, 4), (2, 3), 3), ((2, 3, 3), (2, 2), 5)])
def test_gradients_match_finite_differences(grid: Grid, tile: tuple[int, int], side: int, how: tuple) -> None:
    """Of both inputs and of each alone; the straight-through centre has no finite difference."""
    pairs = frame_pairs(grid[0], 2)
    q, k = features(grid, width=3)
    covered = side >= max(grid[1:])

    def flow(q: Tensor, k: Tensor) -> Tensor:
        options = {"tile": tile, "side": side, "query": how[0], "centre_gradient": how[1] and covered}
        return windowed_flow(q, k, pairs, grid, 0.8, **options)[0].flow_PS2

    assert torch.autograd.gradcheck(flow, (q, k))
    assert torch.autograd.gradcheck(lambda q: flow(q, k.detach()), q)
    assert torch.autograd.gradcheck(lambda k: flow(q.detach(), k), k)


@pytest.mark.parametrize("centre_gradient", [False, True])
def test_the_gradient_is_the_same_under_checkpointing_and_from_half_precision(centre_gradient: bool) -> None:
    grid = (3, 5, 6)
    q, k = features(grid, dtype=torch.float32)

    def flow(q: Tensor, k: Tensor) -> Tensor:
        options = {"tile": (2, 2), "side": 3, "centre_gradient": centre_gradient}
        return windowed_flow(q, k, frame_pairs(3, 2), grid, 1.0, **options)[0].flow_PS2

    plain = torch.autograd.grad(flow(q, k).square().sum(), (q, k))
    again = torch.autograd.grad(checkpoint(flow, q, k, use_reentrant=False).square().sum(), (q, k))
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    half = [x.detach().bfloat16().requires_grad_(True) for x in (q, k)]
    wide = [x.detach().float().requires_grad_(True) for x in half]
    gradients = torch.autograd.grad(flow(*half).square().sum(), half)
    for a, b in zip(gradients, torch.autograd.grad(flow(*wide).square().sum(), wide), strict=True):
        assert torch.equal(a, b.bfloat16())


def test_there_is_no_second_derivative() -> None:
    q, k = features((2, 4, 4))
    flow = windowed_flow(q, k, frame_pairs(2, 1), (2, 4, 4), 1.0, tile=(2, 2), side=3)[0].flow_PS2
    (gradient,) = torch.autograd.grad(flow.square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("centre_gradient", [False, True])
def test_nothing_is_kept_that_grows_with_the_attention(centre_gradient: bool) -> None:
    grid = (4, 8, 8)
    q, k = features(grid, width=4, dtype=torch.float32)
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        options = {"tile": (2, 2), "side": 5, "centre_gradient": centre_gradient}
        windowed_flow(q, k, frame_pairs(4, 3), grid, 1.0, **options)
    assert max(tensor.numel() for tensor in kept) <= q.numel()  # the attention of 6 pairs has 6 x 64 x 25 values


def test_a_reading_never_waits_for_the_values_on_its_device() -> None:
    """Tensors without values stand for a device that has not computed yet: to ask for one would raise."""
    grid, pairs = (4, 5, 6), frame_pairs(4, 2)
    with FakeTensorMode():
        q, k = (torch.empty(4, 30, 8, requires_grad=True) for _ in range(2))
        field, corner = windowed_flow(q, k, pairs, grid, 1.0, tile=(2, 4), side=3, centre_gradient=True)
        reference = MotionField(torch.empty(len(pairs), 30, 2), pairs, grid)
        loss = amf_loss(field, reference, pair_weights(pairs, 2, 0.2))
        loss = loss + window_loss(window_means(k, pairs, corner, grid, 3), pairs)
        gradients = torch.autograd.grad(loss, (q, k))
    assert [gradient.shape for gradient in gradients] == [q.shape, k.shape]


@pytest.mark.parametrize(("grid", "tile"), [((6, 8), (2, 2)), ((5, 7), (2, 3)), ((3, 4), (3, 4)), ((2, 2), (3, 3))])
def test_out_of_tiles_undoes_in_tiles(grid: tuple[int, int], tile: tuple[int, int]) -> None:
    x = torch.randn(2, grid[0] * grid[1], 3, generator=torch.Generator().manual_seed(0))
    tiles = in_tiles(x, grid, tile, fill=7.0)
    assert torch.equal(out_of_tiles(tiles, grid, tile), x)
    assert int((tiles == 7).sum()) == tiles.numel() - x.numel()


def test_runs_of_pairs_have_one_source_and_consecutive_targets() -> None:
    pairs = ((0, 0), (1, 1), (0, 1), (0, 2), (0, 4), (1, 2), (3, 4), (3, 5))
    runs = by_source(pairs)
    assert tuple((i, j) for i, targets in runs for j in targets) == pairs
    assert [(i, len(targets)) for i, targets in runs] == [(0, 1), (1, 1), (0, 2), (0, 1), (1, 1), (3, 2)]
