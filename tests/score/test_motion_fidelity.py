"""Motion fidelity: arithmetic against a loop, invariances, and what it says about real motion."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastvmt.score.functional import MotionScores, motion_fidelity, support
from fastvmt.score.motion_fidelity import JITTER, MotionFidelity, scores_of_tracks
from fastvmt.score.tracklets import seed_grid, seeds, tracklets
from fastvmt.trackers.dis import DisTracker
from fastvmt.types import Video

DIAGONAL = 100.0


def walks(seed: int, count: int, frames: int, hidden: float = 0.15) -> tuple[Tensor, Tensor]:
    """Random tracks with moving, static and hidden steps."""
    g = torch.Generator().manual_seed(seed)
    step = torch.randn(count, frames - 1, 2, generator=g) * (torch.rand(count, frames - 1, 1, generator=g) > 0.3)
    points = torch.cat([torch.zeros(count, 1, 2), step.cumsum(1)], 1) + 50 * torch.rand(count, 1, 2, generator=g)
    return points, torch.rand(count, frames, generator=g) > hidden


def score(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], diagonal: float = DIAGONAL) -> MotionScores:
    return motion_fidelity(a[0], b[0], a[1], b[1], diagonal)


def by_loops(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[float, float, float]:
    """Precision, recall and dynamic score, written step by step."""
    (x, visible_x), (y, visible_y) = a, b
    frames, eps = x.shape[1], 3e-4 * DIAGONAL
    corr = np.full((len(x), len(y)), -np.inf)
    for i in range(len(x)):
        for j in range(len(y)):
            total, shared = 0.0, 0
            for t in range(frames - 1):
                if not (visible_x[i, t] and visible_x[i, t + 1] and visible_y[j, t] and visible_y[j, t + 1]):
                    continue
                shared += 1
                u, v = (x[i, t + 1] - x[i, t]).numpy(), (y[j, t + 1] - y[j, t]).numpy()
                lengths = np.linalg.norm(u), np.linalg.norm(v)
                if min(lengths) >= eps:
                    total += float(u @ v) / (lengths[0] * lengths[1])
                elif max(lengths) < eps:
                    total += 1.0
            if shared >= (frames // 2 if frames < 12 else max(8, (frames - 1) // 3)):
                corr[i, j] = total / shared

    def weight(points: Tensor, visible: Tensor) -> float:
        speeds = [
            float((points[t + 1] - points[t]).norm()) / DIAGONAL
            for t in range(frames - 1)
            if visible[t] and visible[t + 1]
        ]
        return min(sum(speeds) / max(len(speeds), 1), 0.01)

    rows, columns = corr.max(1), corr.max(0)
    w = np.array([weight(p, v) for p, v in zip(x, visible_x, strict=True)])
    z = np.array([weight(p, v) for p, v in zip(y, visible_y, strict=True)])
    good, fine = np.isfinite(rows), np.isfinite(columns)
    dynamic = np.average(rows[good], weights=w[good]) / 2 + np.average(columns[fine], weights=z[fine]) / 2
    return float(rows[good].mean()), float(columns[fine].mean()), float(dynamic)


@pytest.mark.parametrize(("seed", "frames"), [(0, 9), (1, 11), (2, 12), (3, 30)])
def test_matches_an_independent_loop(seed: int, frames: int) -> None:
    a, b = walks(seed, 13, frames), walks(seed + 50, 9, frames)
    scores = score(a, b)
    precision, recall, dynamic = by_loops(a, b)
    assert scores.precision == pytest.approx(precision, abs=1e-5)
    assert scores.recall == pytest.approx(recall, abs=1e-5)
    assert scores.fidelity == pytest.approx((precision + recall) / 2, abs=1e-5)
    assert scores.dynamic == pytest.approx(dynamic, abs=1e-5)


@given(seed=st.integers(0, 1000), shift=st.floats(-50, 50), scale=st.floats(0.1, 10))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_invariances(seed: int, shift: float, scale: float) -> None:
    a, b = walks(seed, 10, 9), walks(seed + 7, 8, 9)
    base = score(a, b)
    moved = score((a[0] + shift, a[1]), b)
    scaled = score((a[0] * scale, a[1]), (b[0] * scale, b[1]), DIAGONAL * scale)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(seed))
    swapped = score(b, a)
    for other in (moved, scaled, score((a[0][order], a[1][order]), b), swapped):
        assert other.fidelity == pytest.approx(base.fidelity, abs=2e-3)
        assert other.dynamic == pytest.approx(base.dynamic, abs=2e-3)
    assert (swapped.precision, swapped.recall) == pytest.approx((base.recall, base.precision), abs=2e-3)


def test_identity_opposite_and_still() -> None:
    frames = 9
    line = torch.arange(frames)[None, :, None] * torch.tensor([[[1.0, 0.5]]]).expand(4, 1, 2)
    seen = torch.ones(4, frames, dtype=torch.bool)
    still = torch.zeros(4, frames, 2)
    assert score((line, seen), (line, seen)).fidelity == pytest.approx(1)
    assert score((-line, seen), (line, seen)).fidelity == pytest.approx(-1)
    frozen = score((still, seen), (line, seen))
    assert (frozen.fidelity, frozen.dynamic) == (0, 0)
    assert frozen.static_generated == 1 and frozen.static_reference == 0
    assert frozen.speed_reference == pytest.approx(math.hypot(1, 0.5) / DIAGONAL)
    rest = score((still, seen), (still, seen))
    assert rest.fidelity == 1 and math.isnan(rest.dynamic)
    one_stop = line.clone()
    one_stop[0, 5:] -= one_stop[0, 5] - one_stop[0, 4]  # the step that made the published formula NaN
    assert score((one_stop, seen), (line, seen)).precision == pytest.approx((3 + 7 / 8) / 4)


def test_undefined_cases() -> None:
    a = walks(0, 5, 9)
    hidden = (a[0], torch.zeros_like(a[1]))
    nothing = (torch.zeros(0, 9, 2), torch.zeros(0, 9, dtype=torch.bool))
    for other in (hidden, nothing):
        assert math.isnan(score(a, other).fidelity) and math.isnan(score(other, a).fidelity)
    assert score(a, hidden).coverage_reference == 0
    with pytest.raises(ValueError, match="same number of frames"):
        score(a, walks(0, 5, 10))
    with pytest.raises(ValueError, match="at least 2"):
        score(walks(0, 5, 1), walks(0, 5, 1))
    with pytest.raises(ValueError, match="diagonal=0"):
        score(a, a, 0)
    for points, seen in ((a[0], a[1].float()), (a[0][:4], a[1]), (a[0][..., :1], a[1])):
        with pytest.raises(ValueError, match=r"generated tracks are \(N, T, 2\)"):
            score((points, seen), a)


def test_support_rule() -> None:
    assert [support(frames) for frames in (9, 11, 12, 24, 25, 28, 81)] == [4, 5, 8, 8, 8, 9, 26]


def test_chance_level_of_random_walks() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(3025, 24, 2, generator=g).cumsum(1) for _ in range(2))
    seen = torch.ones(3025, 24, dtype=torch.bool)
    assert score((a, seen), (b, seen)).precision == pytest.approx(0.51, abs=0.03)


def test_translation_rotation_and_static_tracks() -> None:
    """Hand-made motions whose correlations are known in closed form."""
    frames, turn = 17, math.pi / 8
    time = torch.arange(frames).float()
    seen = torch.ones(4, frames, dtype=torch.bool)
    line = (time[:, None] * torch.tensor([3.0, 4.0])).expand(4, -1, -1)
    circle = (20 * torch.stack([(turn * time).cos(), (turn * time).sin()], -1)).expand(4, -1, -1)
    assert score((line, seen), (2.5 * line, seen)).fidelity == pytest.approx(1)  # speed is ignored
    assert score((line, seen), (circle, seen)).fidelity == pytest.approx(0, abs=1e-6)  # one full turn
    ahead = circle.roll(1, 1)  # the same circle, one step late: the direction is 22.5 degrees off
    ahead[:, 0] = circle[:, -2]
    assert score((ahead, seen), (circle, seen)).fidelity == pytest.approx(math.cos(turn), abs=1e-5)
    mixed = torch.cat([line[:3], 0 * line[:1]])
    assert score((mixed, seen), (line, seen)).precision == pytest.approx(0.75)
    assert score((mixed, seen), (line, seen)).recall == pytest.approx(1)
    assert score((mixed[2:], seen[2:]), (line, seen)).precision == pytest.approx(0.5)  # N != M


def test_thresholds_of_static_and_fast_steps() -> None:
    """A step at 3e-4 diagonals moves, below it rests; weights end at 0.01 diagonals per frame."""
    seen = torch.ones(1, 9, dtype=torch.bool)
    time = torch.arange(9.0)[None, :, None] * torch.tensor([1.0, 0.0])
    for factor, static in ((1.02, 0.0), (0.98, 1.0)):
        tracks = factor * 3e-4 * DIAGONAL * time
        assert score((tracks, seen), (time, seen)).static_generated == static
    slow, fast = 0.002 * DIAGONAL * time, 5 * DIAGONAL * -time
    both, pair = torch.cat([slow, fast]), torch.ones(2, 9, dtype=torch.bool)
    scores = score((slow, seen), (both, pair))
    assert scores.dynamic == pytest.approx((1 + (0.002 - 0.01) / 0.012) / 2, abs=1e-5)


def test_noise_of_a_small_still_clip_is_no_motion() -> None:
    """One grey level of noise on a faint texture at 96 pixels: 3e-4 diagonals alone would call it motion."""
    g = torch.Generator().manual_seed(0)
    still = torch.nn.functional.interpolate(torch.rand(1, 3, 24, 24, generator=g), (96, 96), mode="bicubic")[0]
    noise = torch.randint(-1, 2, (9, 96, 96, 1), generator=g)
    frames = (110 + 20 * still.clamp(0, 1)).int().permute(1, 2, 0) + noise
    tracks, diagonal = tracklets(Video(frames.to(torch.uint8), 8.0), DisTracker()), math.hypot(96, 96)
    alone = score((tracks.points_NT2, tracks.visible_NT), (tracks.points_NT2, tracks.visible_NT), diagonal)
    assert alone.static_generated < 0.5
    assert scores_of_tracks(tracks, tracks, diagonal).static_generated > 0.95
    assert JITTER <= 3e-4 * math.hypot(480, 320)  # no effect from this size on
    assert MotionFidelity(DisTracker()).source["static_step"] == f"below 0.0003 diagonals or {JITTER} pixels"


@pytest.mark.parametrize(("generated", "reference", "low"), [(0.2, 1, False), (0.19, 1, True), (1, 0.19, True)])
def test_low_coverage_of_either_side_is_flagged(generated: float, reference: float, low: bool) -> None:
    found = score(walks(0, 5, 9), walks(1, 5, 9))
    assert replace(found, coverage_generated=generated, coverage_reference=reference).low_coverage is low
    assert replace(found, coverage_generated=math.nan, coverage_reference=reference).low_coverage


def test_lost_positions_carry_no_information() -> None:
    a, b = walks(3, 12, 20), walks(4, 10, 20)
    spoilt = a[0].clone()
    spoilt[~a[1]] = math.nan
    assert score((spoilt, a[1]), b) == score(a, b)


def test_memory_is_bounded_by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = walks(5, 50, 12), walks(6, 40, 12)
    whole = score(a, b)
    monkeypatch.setattr("fastvmt.score.functional.CHUNK", 7)
    assert score(a, b).fidelity == pytest.approx(whole.fidelity, abs=1e-6)


def clip(frames: int) -> Video:
    noise = torch.randint(0, 256, (1, 32, 48, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Video(noise.repeat(frames, 1, 1, 1), 8.0)


def test_foreground_keeps_seeds_on_the_widened_mask() -> None:
    mask = torch.zeros(5, 32, 48, dtype=torch.bool)
    mask[:, 10:14, 20:26] = True
    queries, _ = seeds(clip(5), mask)
    everywhere, _ = seeds(clip(5))
    assert 0 < len(queries) < len(everywhere)
    assert set(queries[:, 0].tolist()) == {0, 2, 4}
    x, y = queries[:, 1].round(), queries[:, 2].round()
    assert ((x >= 15) & (x <= 30) & (y >= 5) & (y <= 18)).all()
    with pytest.raises(ValueError, match="foreground mask"):
        seeds(clip(5), mask[:1])


def test_seeds_lie_inside_with_a_margin() -> None:
    grid = seed_grid(96, 128)
    assert grid.shape == (400, 2)
    assert grid.min(0).values.tolist() == [2, 2] and grid.max(0).values.tolist() == [125, 93]
