"""The released code's heads, pairs and losses, switch by switch; without a switch, the correct form bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastvmt.motion.flow import full_flow
from fastvmt.motion.heads import reduce_heads
from fastvmt.motion.losses import amf_loss, window_loss
from fastvmt.motion.pairs import frame_pairs, pair_weights
from fastvmt.motion.released import (
    between_frames,
    reduce_queries_and_keys,
    released_flow,
    released_pairs,
    released_weights,
    released_window_loss,
    scramble_heads,
    spatial_reduction,
    tracked_keys,
)
from fastvmt.motion.switches import Switches
from fastvmt.motion.windowed import window_means, windowed_flow
from fastvmt.settings import HeadReduce, Reduction, TileQuery, Window
from fastvmt.types import MotionField
from helpers.released_loops import CODE, CORRECT, Grid, features


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
    with pytest.raises(
        ValueError, match=r"head_reduce=official_scramble needs a multiple of 4 tokens, one per head, not 10"
    ):
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


@pytest.mark.parametrize(("frames", "sf", "pairs", "own"), [(21, 4, 57, 21), (8, 4, 18, 8), (3, 2, 2, 3), (3, 4, 3, 3)])
def test_the_codes_pairs_and_weights(frames: int, sf: int, pairs: int, own: int) -> None:
    switches = Switches(pair_range="code", self_pairs=True)
    found = released_pairs(frames, sf, switches)
    expected = [(i, j) for i in range(frames) for j in range(i, min(frames, i + sf))]
    assert sorted(found) == expected
    assert (len(between_frames(found)), len(found)) == (pairs, pairs + own)
    ramp = np.linspace(1, 0.8, sf)
    weights = released_weights(found, sf, 0.2, switches)
    np.testing.assert_allclose(weights, [ramp[j - i] for i, j in found], rtol=1e-6)


def test_pairs_and_weights_one_switch_at_a_time() -> None:
    assert released_pairs(5, 2, CORRECT) == frame_pairs(5, 2)
    assert released_pairs(5, 2, Switches(pair_range="code")) == frame_pairs(5, 1)
    own = Switches(self_pairs=True)
    pairs = released_pairs(5, 3, own)
    assert pairs[:5] == tuple((i, i) for i in range(5))
    assert pairs[5:] == frame_pairs(5, 3)
    weights = released_weights(pairs, 3, 0.5, own)
    assert weights[:5].tolist() == [1.0] * 5
    assert torch.equal(weights[5:], pair_weights(frame_pairs(5, 3), 3, 0.5))


def test_a_frame_is_paired_with_itself_densely() -> None:
    grid, window, own = (3, 4, 5), Window(l=3, sf=2, tile=[2, 2]), Switches(self_pairs=True)
    q, k = features(grid, seed=2)
    pairs = released_pairs(3, 2, own)
    field, index = released_flow(q, k, pairs, grid, 0.8, window, own)
    assert torch.equal(field.flow_PS2[:3], full_flow(q, k, pairs[:3], grid, 0.8).flow_PS2)
    rest, rest_index = released_flow(q, k, pairs[3:], grid, 0.8, window, CORRECT)
    assert torch.equal(field.flow_PS2[3:], rest.flow_PS2)
    assert torch.equal(index, rest_index)


def test_without_windows_too_each_flow_stands_at_its_pair() -> None:
    """Where frames are paired with themselves first, the pairs are not in order of their source."""
    grid, own = (3, 3, 4), Switches(self_pairs=True)
    q, k = features(grid, seed=4)
    pairs = released_pairs(3, 2, own)
    field, _ = released_flow(q, k, pairs, grid, 0.8, Window(l=0, sf=2), own)
    assert field.pairs == pairs
    for pair, flow in zip(pairs, field.flow_PS2, strict=True):
        torch.testing.assert_close(flow, full_flow(q, k, (pair,), grid, 0.8).flow_PS2[0])


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
    assert float(amf_loss(moving, still, weights, Reduction.sum)) == pytest.approx(12 * 25 * (1 + 0.8 + 1) / 3)
    assert float(amf_loss(moving, still, weights, Reduction.mean)) == pytest.approx(25 * (1 + 0.8 + 1) / 3)
    for guidance in Reduction:
        assert spatial_reduction(CORRECT, guidance) is guidance
        assert spatial_reduction(Switches(spatial_reduction="sum"), guidance) is Reduction.sum


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
    actual = amf_loss(field, target, weights, spatial_reduction(CORRECT, Reduction.mean))
    if l == 0:
        assert index is None
        expected = amf_loss(full_flow(q, k, pairs, grid, 0.9), target, weights)
    else:
        actual = actual + released_window_loss(tracked_keys(k, pairs, index, grid, window, CORRECT), pairs, CORRECT)
        correct, corners = windowed_flow(
            q, k, pairs, grid, 0.9, tile=(2, 3), side=l, query=query, centre_gradient=centre_gradient
        )
        expected = amf_loss(correct, target, weights) + window_loss(window_means(k, pairs, corners, grid, l), pairs)
    assert torch.equal(actual, expected)
    for a, e in zip(*(torch.autograd.grad(value, (q, k)) for value in (actual, expected)), strict=True):
        assert torch.equal(a, e)


@pytest.mark.parametrize(
    ("name", "value", "legal"),
    [
        ("head_reduce", "scramble", "guidance, official_scramble, mean_qk, mean_logit"),
        ("window_clamp", "none", "centre, positions"),
        ("parity", False, "off, zero_coord, subsample"),
        ("self_pairs", "yes", "false, true"),
        ("latent_dtype", "float16", "float32, bfloat16"),
    ],
)
def test_unknown_values_are_refused(name: str, value: object, legal: str) -> None:
    with pytest.raises(
        ValueError, match=rf"method\.switches\.{name}={value} is out of range: it must be one of {legal}"
    ):
        Switches(**{name: value})
