"""The DIS tracker against motions that are known exactly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from fastvmt.metrics.motion_fidelity import seed_grid, tracklets
from fastvmt.trackers.base import Tracks
from fastvmt.trackers.dis import DisTracker
from fastvmt.trackers.texture import textured
from fastvmt.types import Video
from fastvmt.world.scene import render, sample_scene
from fastvmt.world.texture import background


def similarity_clip(
    frames: int, height: int, width: int, step: tuple[float, float], zoom: float
) -> tuple[Tensor, Tensor]:
    """A textured plane under a known similarity, and its matrices (T, 2, 3) from frame 0."""
    canvas = (background("brick", np.random.default_rng(1), 2 * max(height, width)) * 255).astype(np.uint8)
    corner = np.array([canvas.shape[1] - width, canvas.shape[0] - height]) / 2
    images, matrices = [], []
    for t in range(frames):
        scale = zoom**t
        matrix = np.array([[scale, 0, t * step[0]], [0, scale, t * step[1]]])
        from_canvas = matrix.copy()
        from_canvas[:, 2] -= scale * corner
        images.append(cv2.warpAffine(canvas, from_canvas, (width, height), flags=cv2.INTER_LINEAR))
        matrices.append(matrix)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(matrices)).float()


@pytest.mark.parametrize(
    ("height", "width", "frames", "step", "zoom"),
    [(96, 96, 9, (1.5, -1.0), 1.0), (96, 144, 9, (-1.0, -1.0), 1.03), (320, 480, 24, (2.0, 1.0), 1.0)],
)
def test_known_motion_is_followed_both_ways(
    height: int, width: int, frames: int, step: tuple[float, float], zoom: float
) -> None:
    clip, matrices = similarity_clip(frames, height, width, step, zoom)
    grid = seed_grid(height, width)
    middle = frames // 2
    tracks = DisTracker().track(clip, torch.cat([torch.full((len(grid), 1), float(middle)), grid], 1))
    start = (grid - matrices[middle, :, 2]) / matrices[middle, 0, 0]
    truth = torch.einsum("tij,nj->nti", matrices[:, :, :2], start) + matrices[None, :, :, 2]
    error = (tracks.points_NT2 - truth).norm(dim=-1)
    assert tracks.visible_NT[:, middle].all()
    assert tracks.visible_NT.float().mean() > 0.5
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


def test_still_and_flat_videos() -> None:
    still = torch.from_numpy(render(sample_scene(np.random.default_rng(0), 2), 96).frames_THWC[:1])
    tracks = tracklets(Video(still.expand(9, -1, -1, -1).contiguous(), 8.0), DisTracker())
    assert tracks.visible_NT.all()
    assert (tracks.points_NT2 - tracks.points_NT2[:, :1]).abs().max() < 0.05
    flat = torch.full((9, 64, 64, 3), 90, dtype=torch.uint8)
    keep, low = textured(flat[0], seed_grid(64, 64))
    assert low and keep.sum() == 50
    assert tracklets(Video(flat, 8.0), DisTracker()).points_NT2.isfinite().all()


def test_texture_rule_keeps_what_can_be_tracked() -> None:
    frame = torch.full((96, 96, 3), 128, dtype=torch.uint8)
    frame[:, 48:] = torch.randint(0, 256, (96, 48, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    grid = seed_grid(96, 96)
    keep, low = textured(frame, grid)
    assert not low
    assert keep[(grid[:, 0] > 52).numpy()].all()
    assert not keep[(grid[:, 0] < 40).numpy()].any()


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
    with pytest.raises(ValueError, match="visibility"):
        Tracks(torch.zeros(2, 3, 2), torch.zeros(2, 4, dtype=torch.bool))
