"""Motion fidelity: arithmetic against a loop, invariances, and what it says about real motion."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastvmt.data.resample import prepare
from fastvmt.data.video import read_video
from fastvmt.metrics.functional import MotionScores, motion_fidelity, support
from fastvmt.metrics.motion_fidelity import MotionFidelity, score_motion, seed_grid
from fastvmt.trackers.dis import DisTracker
from fastvmt.types import Video
from fastvmt.world.scene import render, sample_scene

CLIPS = Path(__file__).parents[2] / "shared" / "data"
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
@settings(max_examples=25, deadline=None)
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
    assert score(a, hidden).low_coverage
    with pytest.raises(ValueError, match="same number of frames"):
        score(a, walks(0, 5, 10))
    with pytest.raises(ValueError, match="at least 2"):
        score(walks(0, 5, 1), walks(0, 5, 1))
    with pytest.raises(ValueError, match="diagonal=0"):
        score(a, a, 0)


def test_support_rule() -> None:
    assert [support(frames) for frames in (9, 11, 12, 24, 25, 28, 81)] == [4, 5, 8, 8, 8, 9, 26]


def test_chance_level_of_random_walks() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(3025, 24, 2, generator=g).cumsum(1) for _ in range(2))
    seen = torch.ones(3025, 24, dtype=torch.bool)
    assert score((a, seen), (b, seen)).precision == pytest.approx(0.51, abs=0.03)


def test_seeds_lie_inside_with_a_margin() -> None:
    grid = seed_grid(96, 128)
    assert grid.shape == (400, 2)
    assert grid.min(0).values.tolist() == [2, 2] and grid.max(0).values.tolist() == [125, 93]


# What the metric says about videos.


def restyled(frames_THWC: Tensor, noise: float) -> Tensor:
    """Inverted colours, blur and noise: another look, the same motion."""
    rng = np.random.default_rng(0)
    blurred = np.stack([cv2.GaussianBlur(255 - frame, (0, 0), 0.8) for frame in frames_THWC.numpy()])
    return torch.from_numpy((blurred + rng.normal(0, noise, blurred.shape)).clip(0, 255).astype(np.uint8))


def compare(reference: Video, change: str) -> MotionScores:
    frames = reference.frames_THWC
    changed = {
        "same": frames,
        "restyled": restyled(frames, 2.0),
        "reversed": frames.flip(0),
        "mirrored": frames.flip(2),
        "frozen": frames[:1].expand_as(frames).contiguous(),
    }[change]
    return score_motion(Video(changed, reference.fps), reference, DisTracker())


def world(category: str, motion: str, seed: int = 0, horizontal: bool = False) -> Video:
    """A clip of one kind of motion, found by seed; ``horizontal`` asks a pan to be so."""
    for k in range(seed, 500):
        scene = sample_scene(np.random.default_rng(k), 9, category)
        x, y = np.abs(scene.camera.pan[-1] - scene.camera.pan[0])
        if scene.motion == motion and (not horizontal or x > 6 * y):
            return Video(torch.from_numpy(render(scene, 96).frames_THWC), 8.0, f"world {k}")
    raise AssertionError(f"no {motion}")


@pytest.mark.parametrize(
    ("change", "low", "high"),
    [
        ("same", 0.999, 1.0),
        ("restyled", 0.98, 1.0),
        ("reversed", -1.0, 0.35),
        ("mirrored", -1.0, 0.35),
        ("frozen", -0.05, 0.05),
    ],
)
def test_bands_on_a_panning_world_clip(change: str, low: float, high: float) -> None:
    assert low - 1e-4 <= compare(world("camera", "pan", horizontal=True), change).fidelity <= high + 1e-4


@pytest.mark.parametrize("motion", ["zoom", "rotate"])
def test_bands_on_moving_cameras(motion: str) -> None:
    reference = world("camera", motion)
    assert compare(reference, "restyled").fidelity >= 0.98
    assert compare(reference, "frozen").fidelity <= 0.1  # points near the fixed point do rest for a step


def test_static_camera_needs_the_dynamic_column() -> None:
    reference = world("single_object", "line")
    frozen = compare(reference, "frozen")
    assert frozen.fidelity > 0.7 > 0.3 > frozen.dynamic
    assert compare(reference, "restyled").dynamic > 0.75


@pytest.mark.parametrize(
    ("clip", "change", "low", "high"),
    [
        ("blackswan", "restyled", 0.98, 1.0),
        ("camera-pan-down", "frozen", -0.05, 0.1),
        ("camera-pan-down", "reversed", -1.0, 0.35),
        ("rallye", "frozen", 0.85, 1.0),
    ],
)
def test_bands_on_real_clips(clip: str, change: str, low: float, high: float) -> None:
    path = CLIPS / f"{clip}.mp4"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    video = read_video(path)
    reference, _ = prepare(video, frames=12, height=320, width=480, fps=min(video.fps, 15), temporal_factor=1)
    assert low <= compare(reference, change).fidelity <= high + 1e-4


def test_videos_of_unequal_length_and_size() -> None:
    reference = world("camera", "pan")
    longer = Video(torch.cat([reference.frames_THWC, reference.frames_THWC]), 8.0)
    assert score_motion(longer, reference, DisTracker()).fidelity == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="one size"):
        score_motion(Video(reference.frames_THWC[:, :64], 8.0), reference, DisTracker())


def test_metric_over_videos() -> None:
    reference = world("camera", "pan")
    metric = MotionFidelity(DisTracker())
    metric.update([reference], [reference], [3])
    metric.update([Video(reference.frames_THWC.flip(0), 8.0)], [reference], [1])
    index, value = metric.per_sample()
    assert index.tolist() == [1, 3]
    assert value[1] == pytest.approx(1, abs=1e-4)
    assert metric.compute() == pytest.approx(float(value.mean()))
    with pytest.raises(ValueError, match="column='speed'"):
        MotionFidelity(DisTracker(), column="speed")
