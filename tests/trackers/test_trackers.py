"""The weight-free trackers against motions that are known exactly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from fastvmt.score.tracklets import seed_grid, tracklets
from fastvmt.trackers.base import Tracker, Tracks
from fastvmt.trackers.chain import follow, sample
from fastvmt.trackers.dis import DisTracker
from fastvmt.trackers.lk import LkTracker
from fastvmt.trackers.texture import textured
from fastvmt.types import Video
from fastvmt.world.scene import render, sample_scene
from fastvmt.world.texture import background

TRACKERS = {"dis": DisTracker(), "lk": LkTracker()}


def similarity_clip(
    frames: int, height: int, width: int, step: tuple[float, float], zoom: float, turn: float = 0.0
) -> tuple[Tensor, Tensor]:
    """A textured plane under a known similarity, and its matrices (T, 2, 3) from frame 0."""
    canvas = (background("brick", np.random.default_rng(1), 2 * max(height, width)) * 255).astype(np.uint8)
    corner = np.array([canvas.shape[1] - width, canvas.shape[0] - height]) / 2
    images, matrices = [], []
    for t in range(frames):
        cosine, sine = zoom**t * np.cos(t * turn), zoom**t * np.sin(t * turn)
        matrix = np.array([[cosine, -sine, t * step[0]], [sine, cosine, t * step[1]]])
        from_canvas = matrix.copy()
        from_canvas[:, 2] -= matrix[:, :2] @ corner
        images.append(cv2.warpAffine(canvas, from_canvas, (width, height), flags=cv2.INTER_LINEAR))
        matrices.append(matrix)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(matrices)).float()


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize(
    ("height", "width", "frames", "step", "zoom", "turn"),
    [
        (96, 96, 9, (1.5, -1.0), 1.0, 0.0),
        (96, 144, 9, (-1.0, -1.0), 1.03, 0.0),
        (96, 96, 9, (2.0, -2.0), 1.0, 0.03),
        (320, 480, 24, (2.0, 1.0), 1.0, 0.0),
        (320, 480, 24, (1.0, 0.0), 1.01, 0.005),
    ],
)
def test_known_motion_is_followed_both_ways(
    name: str, height: int, width: int, frames: int, step: tuple[float, float], zoom: float, turn: float
) -> None:
    clip, matrices = similarity_clip(frames, height, width, step, zoom, turn)
    grid = seed_grid(height, width)
    middle = frames // 2
    tracks = TRACKERS[name].track(clip, torch.cat([torch.full((len(grid), 1), float(middle)), grid], 1))
    start = torch.linalg.solve(matrices[middle, :, :2], (grid - matrices[middle, :, 2]).T).T
    truth = torch.einsum("tij,nj->nti", matrices[:, :, :2], start) + matrices[None, :, :, 2]
    error = (tracks.points_NT2 - truth).norm(dim=-1)
    assert tracks.visible_NT[:, middle].all()
    assert tracks.visible_NT.float().mean() > (0.5 if name == "dis" else 0.4)  # lk loses more under zoom
    for t in (0, frames - 1):
        assert error[tracks.visible_NT[:, t], t].median() < min(2.5, 0.01 * min(height, width))


def test_moving_object_of_the_world_is_followed() -> None:
    clip = render(sample_scene(np.random.default_rng(1), 9, "multi_object"), 96)
    mine = (clip.owner_N >= 0) & clip.visible_NT[:, 0]
    truth = torch.from_numpy(clip.tracks_NT2[mine])
    frames = torch.from_numpy(clip.frames_THWC)
    tracks = DisTracker().track(frames, torch.cat([torch.zeros(len(truth), 1), truth[:, 0]], 1))
    error = (tracks.points_NT2 - truth).norm(dim=-1)[tracks.visible_NT]
    assert tracks.visible_NT.float().mean() > 0.5
    assert error.median() < 1.0


@pytest.mark.parametrize("tracker", TRACKERS.values(), ids=TRACKERS)
def test_still_and_flat_videos(tracker: Tracker) -> None:
    still = torch.from_numpy(render(sample_scene(np.random.default_rng(0), 2), 96).frames_THWC[:1])
    tracks = tracklets(Video(still.expand(9, -1, -1, -1).contiguous(), 8.0), tracker)
    assert tracks.visible_NT.all()
    assert (tracks.points_NT2 - tracks.points_NT2[:, :1]).abs().max() < 0.05
    flat = torch.full((9, 64, 64, 3), 90, dtype=torch.uint8)
    keep, low = textured(flat[0], seed_grid(64, 64))
    assert low and keep.sum() == 50
    assert tracklets(Video(flat, 8.0), tracker).points_NT2.isfinite().all()


def test_texture_rule_keeps_what_can_be_tracked() -> None:
    frame = torch.full((96, 96, 3), 128, dtype=torch.uint8)
    frame[:, 48:] = torch.randint(0, 256, (96, 48, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    grid = seed_grid(96, 96)
    keep, low = textured(frame, grid)
    assert not low
    assert keep[(grid[:, 0] > 52).numpy()].all()
    assert not keep[(grid[:, 0] < 40).numpy()].any()


def test_noise_on_a_wall_is_no_texture() -> None:
    rng = np.random.default_rng(0)
    frame = np.full((96, 96, 3), 128.0)
    frame[:, 48:] = 255 * (rng.random((96, 48, 1)) > 0.5)
    noisy = cv2.GaussianBlur(frame, (0, 0), 0.8) + rng.normal(0, 2, frame.shape)
    grid = seed_grid(96, 96)
    keep, low = textured(torch.from_numpy(noisy.clip(0, 255).astype(np.uint8)), grid)
    assert not low
    assert keep[(grid[:, 0] > 52).numpy()].all()
    assert not keep[(grid[:, 0] < 40).numpy()].any()


def test_sampling_is_bilinear() -> None:
    y, x = np.mgrid[:5, :7].astype(np.float32)
    points = np.array([[0.0, 0.0], [2.25, 1.5], [6.0, 4.0], [9.0, -3.0]], np.float32)
    field = np.stack([2 * x, x + 3 * y], -1)
    inside = points.clip([0, 0], [6, 4])
    expected = np.stack([2 * inside[:, 0], inside[:, 0] + 3 * inside[:, 1]], -1)
    assert np.allclose(sample(field, points), expected, atol=0.05)


def test_a_lost_point_stays_lost_and_drifts_on() -> None:
    def step(a: int, b: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return points + (b - a) * np.array([2.0, 0.0], np.float32), np.full(len(points), {a, b} != {5, 6})

    seeds = np.array([[4.0, 4.0], [10.0, 4.0]], np.float32)
    points, visible = follow(step, np.array([0, 4]), seeds, 9, (9, 100))
    assert points[0, :, 0].tolist() == [4 + 2 * t for t in range(9)]
    assert points[1, :, 0].tolist() == [10 + 2 * (t - 4) for t in range(9)]
    assert visible.tolist() == [[t <= 5 for t in range(9)]] * 2
    left = follow(step, np.array([4]), seeds[:1], 9, (9, 100))[1]
    assert left[0].tolist() == [False, False] + [True] * 4 + [False] * 3  # it came from outside the frame


def test_repeatable_and_leaves_opencv_threads_alone() -> None:
    clip = Video(torch.from_numpy(render(sample_scene(np.random.default_rng(1), 5), 96).frames_THWC), 8.0)
    threads = cv2.getNumThreads()
    first, second = tracklets(clip, DisTracker()), tracklets(clip, DisTracker())
    assert torch.equal(first.points_NT2, second.points_NT2)
    assert cv2.getNumThreads() == threads


def test_boundaries() -> None:
    frames = torch.zeros(3, 64, 64, 3, dtype=torch.uint8)
    assert DisTracker().track(frames, torch.zeros(0, 3)).points_NT2.shape == (0, 3, 2)
    with pytest.raises(ValueError, match="query frames"):
        DisTracker().track(frames, torch.tensor([[3.0, 1.0, 1.0]]))
    with pytest.raises(ValueError, match="at least 2 frames"):
        DisTracker().track(frames[:1], torch.zeros(1, 3))
    with pytest.raises(ValueError, match="side=32"):
        DisTracker(side=32)
    with pytest.raises(ValueError, match="side=32"):
        LkTracker(side=32)
    with pytest.raises(ValueError, match="window=1"):
        LkTracker(window=1)
    assert LkTracker().track(frames, torch.zeros(0, 3)).points_NT2.shape == (0, 3, 2)
    with pytest.raises(ValueError, match="visibility"):
        Tracks(torch.zeros(2, 3, 2), torch.zeros(2, 4, dtype=torch.bool))
