"""Motion fidelity of videos: which points are tracked, and the metric over a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastvmt.metrics.functional import MotionScores, motion_fidelity
from fastvmt.metrics.per_video import PerVideoMetric
from fastvmt.trackers.base import Tracker, Tracks
from fastvmt.trackers.texture import textured
from fastvmt.types import Video

GRID = 20
"""Seeds per side in every query frame."""
JITTER = 0.25
"""Noise of a tracked step in native pixels. The published rule, 3e-4 diagonals, is 0.29 pixels at 832 x 480
but 0.04 in a 96-pixel clip, where sensor-like noise would then pass for motion."""
COLUMNS = ("fidelity", "dynamic", "precision", "recall")


def seed_grid(height: int, width: int) -> Tensor:
    """(GRID * GRID, 2) points (x, y), evenly spread with a margin of a 64th of the width."""
    margin = width / 64
    x = torch.linspace(margin, width - 1 - margin, GRID)
    y = torch.linspace(margin, height - 1 - margin, GRID)
    return torch.cartesian_prod(y, x).flip(-1)


def tracklets(video: Video, tracker: Tracker) -> Tracks:
    """Tracks seeded on texture in the first, the middle and the last frame, followed both ways in time."""
    frames, height, width = video.size
    if frames < 2:
        raise ValueError(f"motion fidelity needs at least 2 frames, {video.name or 'the video'} has {frames}")
    grid = seed_grid(height, width)
    queries = []
    for t in sorted({0, frames // 2, frames - 1}):
        keep, _ = textured(video.frames_THWC[t], grid)
        points = grid[torch.from_numpy(keep)]
        queries.append(torch.cat([torch.full((len(points), 1), float(t)), points], 1))
    return tracker.track(video.frames_THWC, torch.cat(queries))


def truncated(video: Video, frames: int) -> Video:
    return Video(video.frames_THWC[:frames], video.fps, video.name)


def score_motion(generated: Video, reference: Video, tracker: Tracker) -> MotionScores:
    """Motion fidelity of one pair; the longer video is cut to the length of the shorter.

    The reference must be the clip that the generator saw. Raises ``ValueError`` for unequal sizes.
    """
    if generated.size[1:] != reference.size[1:]:
        raise ValueError(
            f"motion fidelity compares videos of one size, got {generated.size[1:]} (generated) and "
            f"{reference.size[1:]} (reference): score against the reference as it was prepared for the generator"
        )
    frames = min(generated.size[0], reference.size[0])
    a, b = (tracklets(truncated(video, frames), tracker) for video in (generated, reference))
    diagonal = float(torch.tensor(generated.size[1:]).double().norm())
    return motion_fidelity(a.points_NT2, b.points_NT2, a.visible_NT, b.visible_NT, diagonal, JITTER)


class MotionFidelity(PerVideoMetric):
    """Mean over videos of one column of :func:`score_motion`, see :class:`MotionScores`.

    Example:
        >>> metric = MotionFidelity(tracker=None)
        >>> metric.record([0.5, 0.7, 0.7], index=[0, 1, 1])  # scores of video 0, 1, and 1 again
        >>> round(metric.compute().item(), 3)
        0.6
    """

    def __init__(self, tracker: Tracker | None, column: str = "fidelity", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if column not in COLUMNS:
            raise ValueError(f"column={column!r} of motion fidelity must be one of {', '.join(COLUMNS)}")
        self.tracker = tracker
        self.column = column

    def update(self, generated: Sequence[Video], references: Sequence[Video], index: Sequence[int]) -> None:
        """Track and score pairs of videos."""
        if self.tracker is None:
            raise ValueError("this MotionFidelity only records scores: give it a tracker to score videos")
        pairs = zip(generated, references, strict=True)
        scores = [score_motion(mine, theirs, self.tracker) for mine, theirs in pairs]
        self.record([getattr(score, self.column) for score in scores], index)
