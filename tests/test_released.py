"""The released code's arithmetic against nested loops and closed forms, switch by switch."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fastvmt.guidance.optimize import optimise
from fastvmt.methods.released import nearest_level, rounded_level
from fastvmt.motion.flow import full_flow, window_means, windowed_flow
from fastvmt.motion.heads import reduce_heads
from fastvmt.motion.losses import amf_loss, window_loss
from fastvmt.motion.pairs import frame_pairs, pair_weights
from fastvmt.motion.released import (
    between_frames,
    clamped_cells,
    expected_coordinates,
    reduce_queries_and_keys,
    released_amf_loss,
    released_flow,
    released_pairs,
    released_weights,
    released_window_loss,
    scramble_heads,
    thin,
    tracked_keys,
)
from fastvmt.motion.switches import Switches
from fastvmt.motion.window import window_offsets
from fastvmt.sampling import sigma_schedule
from fastvmt.settings import HeadReduce, TileQuery, Window
from fastvmt.types import MotionField

Grid = tuple[int, int, int]
CORRECT = Switches()
CODE = Switches(
    "official_scramble", "positions", "missing", "zero_coord", "channels", "plain", True, "code", "sum", "bfloat16",
    "bfloat16",
)  # fmt: skip


def features(grid: Grid, width: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (grid[0], grid[1] * grid[2], width)
    q, k = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return q, k


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def loop_window(centre: np.ndarray, height: int, width: int, l: int, clamp: str) -> list[tuple[int, int]]:
    """Cells of the window around a soft centre, row by row."""
    half = l // 2
    if clamp == "positions":
        ends = ((half, height - 1 - half), (half, width - 1 - half))
        axes = [
            [int(min(max(at + step, low), high)) for step in range(-half, half + 1)]
            for at, (low, high) in zip(centre, ends, strict=True)
        ]
    else:
        sides = min(l, height), min(l, width)
        starts = [
            min(max(round(float(at)) - side // 2, 0), extent - side)
            for at, side, extent in zip(centre, sides, (height, width), strict=True)
        ]
        axes = [list(range(start, start + side)) for start, side in zip(starts, sides, strict=True)]
    return list(itertools.product(*axes))


def loop_flow(
    q: np.ndarray, k: np.ndarray, pairs: list, grid: Grid, scale: float, window: Window, switches: Switches
) -> tuple[np.ndarray, list[list[list[tuple[int, int]]]]]:
    """Displacements (P, S, 2) and every window's cells, written as nested loops over pairs and tiles."""
    _, height, width = grid
    frame = np.array(list(itertools.product(range(height), range(width))), float)
    tall, wide = window.tile
    flow, windows = np.zeros((len(pairs), height, width, 2)), []
    for p, (i, j) in enumerate(pairs):
        windows.append([])
        for top, left in itertools.product(range(0, height, tall), range(0, width, wide)):
            cells = [(r, c) for r in range(top, min(top + tall, height)) for c in range(left, min(left + wide, width))]
            middle = (top + tall // 2, left + wide // 2)
            middle = middle if middle in cells else cells[-1]
            stands = cells if window.query is TileQuery.mean else [middle]
            query = np.mean([q[i, r * width + c] for r, c in stands], axis=0)
            centre = softmax(scale * k[j] @ query) @ frame
            chosen = loop_window(centre, height, width, window.l, switches.window_clamp)
            windows[-1].append(chosen)
            for r, c in cells:
                logits = np.array([scale * k[j, a * width + b] @ q[i, r * width + c] for a, b in chosen])
                flow[p, r, c] = loop_displacement(logits, chosen, (r, c), (top, left), min(window.l, width), switches)
    return flow.reshape(len(pairs), height * width, 2), windows


def loop_displacement(
    logits: np.ndarray, chosen: list, own: tuple[int, int], corner: tuple[int, int], l: int, switches: Switches
) -> np.ndarray:
    """One token's displacement, cell by cell."""
    if switches.parity == "subsample":
        weights = np.zeros(len(chosen))
        weights[::2] = softmax(logits[::2])
    else:
        weights = softmax(logits)
    expected = np.zeros(2)
    first = np.array(chosen[0], float)
    for m, (weight, cell) in enumerate(zip(weights, chosen, strict=True)):
        place = np.array([m // l, m % l], float) if switches.offset == "missing" else np.array(cell, float) - first
        if switches.parity == "zero_coord" and m % 2:
            place = np.zeros(2)
        expected += weight * place
    if switches.offset == "missing":
        return expected - (np.array(own) - np.array(corner))
    return expected + first - np.array(own)


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
    flow, windows = loop_flow(q.numpy(), k.numpy(), pairs.tolist(), grid, 1.7, window, switches)
    np.testing.assert_allclose(field.flow_PS2, flow, atol=1e-12)
    expected = [[[k[j, r * grid[2] + c].mean() for r, c in cells] for cells in tiles]
                for (_, j), tiles in zip(pairs.tolist(), windows, strict=True)]  # fmt: skip
    np.testing.assert_allclose(tracked_keys(k, pairs, index, grid, window, switches), expected)
    over_cells = [[np.mean([k[j, r * grid[2] + c].numpy() for r, c in cells], axis=0) for cells in tiles]
                  for (_, j), tiles in zip(pairs.tolist(), windows, strict=True)]  # fmt: skip
    tracked = tracked_keys(k, pairs, index, grid, window, replace(switches, key_mean="window"))
    np.testing.assert_allclose(tracked, over_cells)


@pytest.mark.parametrize(("frames", "tokens", "heads"), [(2, 6, 3), (2, 5, 5), (3, 8, 4), (2, 7, 1)])
def test_the_scramble_averages_a_run_of_tokens_of_one_head(frames: int, tokens: int, heads: int) -> None:
    x = torch.randn(frames, tokens, heads, 4, generator=torch.Generator().manual_seed(heads))
    every = x.flatten(0, 1).numpy()
    expected = np.zeros((frames * tokens, 4), np.float32)
    for n in range(frames * tokens):
        run, head = n // heads, n % heads
        expected[n] = np.mean([every[run * heads + step, head] for step in range(heads)], axis=0)
    np.testing.assert_allclose(scramble_heads(x).flatten(0, 1), expected, atol=1e-6)
    if heads > 1:
        assert not torch.allclose(scramble_heads(x), x.mean(2), atol=0.1)


def test_the_scramble_needs_as_many_tokens_as_heads_or_multiples() -> None:
    with pytest.raises(ValueError, match=r"head_reduce=official_scramble needs a multiple of 4 tokens.* have 10"):
        scramble_heads(torch.zeros(2, 5, 4, 3))


@pytest.mark.parametrize("chosen", list(HeadReduce))
def test_heads_follow_the_guidance_unless_switched(chosen: HeadReduce) -> None:
    q, k = (torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    for switch, expected in {
        "guidance": chosen,
        "mean_qk": HeadReduce.mean_qk,
        "mean_logit": HeadReduce.mean_logit,
    }.items():
        actual = reduce_queries_and_keys(q, k, Switches(head_reduce=switch), chosen)
        wanted = reduce_heads(q, k, expected)
        assert torch.equal(actual[0], wanted[0]) and torch.equal(actual[1], wanted[1]) and actual[2] == wanted[2]
    scrambled = reduce_queries_and_keys(q, k, CODE, chosen)
    assert torch.equal(scrambled[0], scramble_heads(q)) and torch.equal(scrambled[1], scramble_heads(k))
    assert scrambled[2] == 0.5


@pytest.mark.parametrize(("height", "width", "l"), [(30, 52, 21), (12, 12, 5), (5, 9, 5)])
def test_clamped_cells_reach_only_the_middle_of_the_frame(height: int, width: int, l: int) -> None:
    half = l // 2
    centres = torch.cartesian_prod(torch.arange(height), torch.arange(width)).float()
    cells = clamped_cells(centres, (height, width), l)
    reached = {tuple(cell) for cell in cells.flatten(0, 1).unique(dim=0).tolist()}
    assert reached == set(itertools.product(range(half, height - half), range(half, width - half)))


def test_clamped_windows_of_the_papers_grid() -> None:
    """30 x 52 tokens, l = 21: 320 of 1560 keys can be reached; the middle window has 10 rows, an upper one 1."""
    middle, upper = clamped_cells(torch.tensor([[15.0, 25.0], [0.0, 25.0]]), (30, 52), 21)
    assert (len(middle), len(middle.unique(dim=0))) == (441, 10 * 21)
    assert upper[:, 0].unique().tolist() == [10]
    assert len(upper.unique(dim=0)) == 21
    assert 10 * 32 == 320


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


@pytest.mark.parametrize(("frames", "sf", "pairs", "own"), [(21, 4, 57, 21), (8, 4, 18, 8), (3, 2, 2, 3), (3, 4, 3, 3)])
def test_the_codes_pairs_and_weights(frames: int, sf: int, pairs: int, own: int) -> None:
    switches = Switches(pair_range="code", self_pairs=True)
    found = released_pairs(frames, sf, switches)
    expected = [(i, j) for i in range(frames) for j in range(i, min(frames, i + sf))]
    assert sorted(tuple(pair) for pair in found.tolist()) == expected
    assert (len(between_frames(found)), len(found)) == (pairs, pairs + own)
    ramp = np.linspace(1, 0.8, sf)
    weights = released_weights(found, sf, 0.2, switches)
    np.testing.assert_allclose(weights, [ramp[j - i] for i, j in found.tolist()], rtol=1e-6)


def test_pairs_and_weights_one_switch_at_a_time() -> None:
    assert torch.equal(released_pairs(5, 2, CORRECT), frame_pairs(5, 2))
    assert torch.equal(released_pairs(5, 2, Switches(pair_range="code")), frame_pairs(5, 1))
    own = Switches(self_pairs=True)
    pairs = released_pairs(5, 3, own)
    assert pairs[:5].tolist() == [[i, i] for i in range(5)]
    assert torch.equal(pairs[5:], frame_pairs(5, 3))
    weights = released_weights(pairs, 3, 0.5, own)
    assert weights[:5].tolist() == [1.0] * 5
    assert torch.equal(weights[5:], pair_weights(frame_pairs(5, 3), 3, 0.5))


def test_a_frame_is_paired_with_itself_densely() -> None:
    grid, window, own = (3, 4, 5), Window(l=3, sf=2), Switches(self_pairs=True)
    q, k = features(grid, seed=2)
    pairs = released_pairs(3, 2, own)
    field, index = released_flow(q, k, pairs, grid, 0.8, window, own)
    assert torch.equal(field.flow_PS2[:3], full_flow(q, k, pairs[:3], grid, 0.8).flow_PS2)
    rest, rest_index = released_flow(q, k, pairs[3:], grid, 0.8, window, CORRECT)
    assert torch.equal(field.flow_PS2[3:], rest.flow_PS2)
    assert torch.equal(index, rest_index)


def test_distance_instead_of_its_square() -> None:
    pairs = frame_pairs(4, 2)  # (0,1) (0,2) (1,2) (1,3) (2,3): frames 0 and 1 have two targets, frame 2 one
    means = torch.zeros(5, 6, 2)
    means[1] = torch.tensor([3.0, 4.0])  # 5 at every tile of frame 0
    means[3, :3] = torch.tensor([0.0, 2.0])  # 2 at half of the tiles of frame 1
    means[4] = 100.0  # no second target: must not count
    assert float(released_window_loss(means, pairs, Switches(window_norm="plain"))) == pytest.approx((5 + 1) / 2)
    assert float(released_window_loss(means, pairs, CORRECT)) == float(window_loss(means, pairs))
    assert float(released_window_loss(means[:3], frame_pairs(4, 1), Switches(window_norm="plain"))) == 0.0
    still = torch.ones(5, 6, 2, requires_grad=True)
    released_window_loss(still, pairs, Switches(window_norm="plain")).backward()
    assert torch.equal(still.grad, torch.zeros(5, 6, 2))  # the distance has no slope at zero


def test_the_sum_over_tokens() -> None:
    pairs = frame_pairs(3, 2)
    still, moving = (MotionField(torch.tensor(v).expand(3, 12, 2), pairs, (3, 3, 4)) for v in ((0.0, 0.0), (3.0, 4.0)))
    weights = torch.tensor([1.0, 0.8, 1.0])
    assert float(released_amf_loss(moving, still, weights, Switches(spatial_reduction="sum"))) == pytest.approx(
        12 * 25 * (1 + 0.8 + 1) / 3
    )
    assert float(released_amf_loss(moving, still, weights, CORRECT)) == float(amf_loss(moving, still, weights))


def test_in_bfloat16_latents_of_magnitude_one_and_more_never_move() -> None:
    """The paper's ten steps in one direction: 0.0255 in float32; in bfloat16 a third of a unit normal stays."""
    start = torch.randn(1, 1, 1, 200, 200, generator=torch.Generator().manual_seed(0)).bfloat16()

    def moved(dtype: torch.dtype) -> Tensor:
        end = optimise(start, lambda x: x.sum(), iterations=10, lr=0.003, lr_end=0.002, delta=3, dtype=dtype)
        assert end.dtype == dtype
        return start.float() - end.float()

    torch.testing.assert_close(moved(torch.float32), torch.full(start.shape, 0.0255), atol=1e-6, rtol=1e-4)
    coarse = moved(torch.bfloat16)
    stays = math.erfc(1 / math.sqrt(2))  # P(|x| >= 1) = 0.317
    assert float((coarse == 0).float().mean()) == pytest.approx(stays, abs=0.01)
    assert (coarse[start.abs() > 1] == 0).all()
    assert float(coarse.mean()) == pytest.approx(0.0205, abs=5e-4)


def test_rounded_timesteps_are_multiples_of_four() -> None:
    for sigma in np.linspace(0.513, 1.0, 300).tolist():
        t = 1000 * rounded_level(sigma)
        assert t == pytest.approx(4 * round(t / 4), abs=1e-9)
        assert abs(t - 1000 * sigma) <= 2 + 1e-9
    assert 1000 * rounded_level(0.95) == pytest.approx(952)


@pytest.mark.parametrize(("strength", "taken"), [(0.92, {3: 2}), (1.0, {2: 1}), (0.75, {})])
def test_the_rounded_timestep_can_name_a_neighbouring_level(strength: float, taken: dict[int, int]) -> None:
    sigmas = sigma_schedule(50, 7.0, strength)
    for step in range(10):
        found = nearest_level(rounded_level(sigmas[step]), sigmas)
        assert found == sigmas[taken.get(step, step)]


@pytest.mark.parametrize("centre_gradient", [False, True])
@pytest.mark.parametrize("query", list(TileQuery))
@pytest.mark.parametrize(("grid", "l"), [((3, 5, 7), 3), ((2, 4, 4), 9), ((3, 4, 5), 0)])
def test_all_switches_off_is_the_correct_form_bit_for_bit(
    grid: Grid, l: int, query: TileQuery, centre_gradient: bool
) -> None:
    window = Window(l=l, sf=2, tile=[2, 3], query=query, centre_gradient=centre_gradient)
    q, k = (x.float().requires_grad_(True) for x in features(grid, seed=3))
    pairs = released_pairs(grid[0], 2, CORRECT)
    weights = released_weights(pairs, 2, 0.3, CORRECT)
    assert torch.equal(weights, pair_weights(pairs, 2, 0.3))
    field, index = released_flow(q, k, pairs, grid, 0.9, window, CORRECT)
    target = MotionField(torch.zeros_like(field.flow_PS2), pairs, grid)
    actual = released_amf_loss(field, target, weights, CORRECT)
    if l == 0:
        assert index is None
        expected = amf_loss(full_flow(q, k, pairs, grid, 0.9), target, weights)
    else:
        actual = actual + released_window_loss(tracked_keys(k, pairs, index, grid, window, CORRECT), pairs, CORRECT)
        correct, corners = windowed_flow(
            q, k, pairs, grid, 0.9, tile=(2, 3), l=l, query=query, centre_gradient=centre_gradient
        )
        expected = amf_loss(correct, target, weights) + window_loss(window_means(k, pairs, corners, grid, l), pairs)
    assert torch.equal(actual, expected)
    for a, e in zip(*(torch.autograd.grad(value, (q, k)) for value in (actual, expected)), strict=True):
        assert torch.equal(a, e)


@pytest.mark.parametrize(
    ("name", "value", "legal"),
    [
        ("head_reduce", "scramble", "guidance or official_scramble or mean_qk or mean_logit"),
        ("window_clamp", "none", "centre or positions"),
        ("parity", False, "off or zero_coord or subsample"),
        ("self_pairs", "yes", "False or True"),
        ("latent_dtype", "float16", "float32 or bfloat16"),
    ],
)
def test_unknown_values_are_refused(name: str, value: object, legal: str) -> None:
    with pytest.raises(ValueError, match=rf"method\.switches\.{name}={value} is out of range: it must be {legal}"):
        Switches(**{name: value})
