"""Motion fidelity of videos: which points are tracked, and the metric over a benchmark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d
from torchmetrics.utilities import dim_zero_cat

from fastvmt.data.alignment import align, evenly, spread
from fastvmt.score.frechet import hybrid
from fastvmt.score.functional import MotionScores, motion_fidelity
from fastvmt.score.per_video import PerVideoMetric, Videos, as_videos
from fastvmt.score.published import compat_det, compat_ditflow, compat_smm, paper
from fastvmt.trackers.base import Tracker, Tracks
from fastvmt.trackers.texture import textured
from fastvmt.types import Truth, Video

GRID = 20
"""Seeds per side in every query frame."""
JITTER = 0.17
"""Noise of a tracked step in native pixels: shorter steps are static. The rule of 3e-4 diagonals is 0.29 pixels
at 832 x 480 and 0.17 at 480 x 320, but 0.04 in a 96-pixel clip, where the tracker's noise would then pass for motion:
of resting points' steps there 0.89 count as static without this floor, 0.95 with it. It acts on smaller clips only."""
DILATION = 5
"""Pixels by which a foreground mask is widened: seeds on an object's border count as on it."""
OURS = ("robust", "dynamic", "precision", "recall", "hybrid")
"""Modes on tracks of textured points from three frames."""
PUBLISHED = {"paper": 55, "compat_smm": 55, "compat_ditflow": 55, "compat_det": 50}
"""Modes on a full grid of the first frame, and the grid's side."""
MODES = (*OURS, *PUBLISHED)
BESIDE = tuple(f.name for f in fields(MotionScores))
"""What the metric reports beside its value."""


def seed_grid(height: int, width: int, side: int = GRID) -> Tensor:
    """(side * side, 2) points (x, y), evenly spread with a margin of a 64th of the width."""
    margin = width / 64
    x = torch.linspace(margin, width - 1 - margin, side)
    y = torch.linspace(margin, height - 1 - margin, side)
    return torch.cartesian_prod(y, x).flip(-1)


def seeds(video: Video, foreground_THW: Tensor | None = None) -> tuple[Tensor, bool]:
    """Queries (t, x, y) on texture in the first, the middle and the last frame, and whether texture is low.

    ``foreground_THW`` (bool) keeps those on the foreground, widened by 5 pixels. Raises ``ValueError``
    for a mask of another size.
    """
    frames, height, width = video.size
    if foreground_THW is not None and tuple(foreground_THW.shape) != video.size:
        raise ValueError(f"a foreground mask has the video's size {video.size}, got {tuple(foreground_THW.shape)}")
    grid = seed_grid(height, width)
    queries, any_low = [], False
    for t in sorted({0, frames // 2, frames - 1}):
        keep, low = textured(video.frames_THWC[t], grid)
        points = grid[torch.from_numpy(keep)]
        if foreground_THW is not None:
            wide = max_pool2d(foreground_THW[t][None].float(), 2 * DILATION + 1, stride=1, padding=DILATION)[0] > 0
            x, y = points.round().long().T
            points = points[wide.cpu()[y, x]]
        queries.append(torch.cat([torch.full((len(points), 1), float(t)), points], 1))
        any_low |= low
    return torch.cat(queries), any_low


def tracklets(video: Video, tracker: Tracker, foreground_THW: Tensor | None = None) -> Tracks:
    """Tracks of :func:`seeds`, followed both ways in time."""
    return tracker.track(video.frames_THWC, seeds(video, foreground_THW)[0])


def grid_tracks(video: Video, tracker: Tracker, side: int) -> Tracks:
    """Tracks of a full grid of ``side`` x ``side`` points of the first frame, as in published code."""
    grid = seed_grid(*video.size[1:], side)
    return tracker.track(video.frames_THWC, torch.cat([torch.zeros(len(grid), 1), grid], 1))


def diagonal_of(generated: Video, reference: Video) -> float:
    """The frame's diagonal in pixels; raises ``ValueError`` for videos of unequal size."""
    if generated.size[1:] != reference.size[1:]:
        raise ValueError(
            f"motion fidelity compares videos of one size, got {generated.size[1:]} (generated) and "
            f"{reference.size[1:]} (reference): score against the reference as it was prepared for the generator"
        )
    return float(torch.tensor(generated.size[1:]).double().norm())


def scores_of_tracks(generated: Tracks, reference: Tracks, diagonal: float) -> MotionScores:
    """:func:`fastvmt.score.functional.motion_fidelity` of tracks in pixels, with the tracker's noise."""
    return motion_fidelity(
        generated.points_NT2, reference.points_NT2, generated.visible_NT, reference.visible_NT, diagonal, JITTER
    )


def hybrid_of_tracks(generated: Tracks, reference: Tracks, diagonal: float) -> float:
    """:func:`fastvmt.score.frechet.hybrid` of tracks in pixels, with the tracker's noise."""
    return hybrid(
        generated.points_NT2, reference.points_NT2, generated.visible_NT, reference.visible_NT, diagonal, JITTER
    )


def track_pair(
    generated: Video,
    reference: Video,
    tracker: Tracker,
    *,
    frames: int | None = None,
    alignment: str = "truncate",
    foreground_THW: Tensor | None = None,
) -> tuple[Tracks, Tracks, bool]:
    """Tracks of two videos aligned in time, and whether one has little texture; see :func:`score_motion`."""
    mine, theirs, _ = align(generated, reference, alignment, match_rate=False)
    if frames is not None and frames < mine.size[0]:
        picked = None if foreground_THW is None else foreground_THW[spread(mine.size[0], frames)]
        mine, theirs, foreground_THW = evenly(mine, frames), evenly(theirs, frames), picked
    (own, low), (other, also_low) = seeds(mine), seeds(theirs, foreground_THW)
    a, b = tracker.track(mine.frames_THWC, own), tracker.track(theirs.frames_THWC, other)
    return a, b, low or also_low


def score_motion(
    generated: Video,
    reference: Video,
    tracker: Tracker,
    *,
    frames: int | None = None,
    alignment: str = "truncate",
    foreground_THW: Tensor | None = None,
) -> MotionScores:
    """Robust motion fidelity of one pair (after Yatim et al., 2024) in [-1, 1], by default over the shorter length.

    Args:
        generated, reference: the reference must be the clip that the generator saw.
        tracker: follows the points.
        frames: score at most so many evenly spread frames, as ``metrics.frames``: the chance level depends on it.
        alignment: of unequal lengths, see :func:`fastvmt.data.alignment.align`; frame i is compared with frame i.
        foreground_THW: bool mask of the reference as it is scored; keeps its tracks from foreground points.

    Raises ``ValueError`` for unequal sizes, one frame, or an unknown alignment.

    Example:
        >>> from fastvmt.trackers.dis import DisTracker
        >>> wave = (127 + 120 * torch.sin(torch.arange(80.0) / 3) * torch.sin(torch.arange(64.0) / 4)[:, None]).byte()
        >>> pan = Video(torch.stack([wave[:, t : t + 64, None].expand(-1, -1, 3) for t in range(9)]), fps=8)
        >>> back = Video(pan.frames_THWC.flip(0), fps=8)
        >>> [round(score_motion(clip, pan, DisTracker()).fidelity, 1) for clip in (pan, back)]
        [1.0, -1.0]
    """
    diagonal = diagonal_of(generated, reference)
    a, b, low = track_pair(
        generated, reference, tracker, frames=frames, alignment=alignment, foreground_THW=foreground_THW
    )
    return replace(scores_of_tracks(a, b, diagonal), low_texture=low)


def score_true_motion(generated: Video, truth: Truth, tracker: Tracker) -> MotionScores:
    """Robust motion fidelity (after Yatim et al., 2024) to the reference's true tracks, in [-1, 1].

    Args:
        generated: of the size and number of frames that ``truth`` describes.
        truth: its points lie on a grid over every object and over the background, unlike the textured ones
            of :func:`seeds`: do not compare the values with those of :func:`score_motion`.

    Example:
        >>> from fastvmt.trackers.dis import DisTracker
        >>> still, seen = Video(torch.zeros(9, 64, 64, 3, dtype=torch.uint8), fps=8), torch.ones(1, 9).bool()
        >>> rest = Truth(torch.zeros(1, 9, 2), torch.zeros(1, 9, 2), seen, torch.zeros(1).long())
        >>> score_true_motion(still, rest, DisTracker()).fidelity
        1.0
    """
    known = Tracks(truth.tracks_NT2, truth.visible_NT)
    return scores_of_tracks(tracklets(generated, tracker), known, math.hypot(*generated.size[1:]))


def score_published(generated: Video, reference: Video, tracker: Tracker, mode: str) -> tuple[float, MotionScores]:
    """A score of :mod:`fastvmt.score.published` (Yatim et al., 2024, and others) and the robust ones of its tracks.

    Ranges are those of the functions there, and of :class:`MotionScores`.

    Example:
        >>> from fastvmt.trackers.dis import DisTracker
        >>> still = Video(torch.zeros(3, 64, 64, 3, dtype=torch.uint8), fps=8)  # rests: 0 as written, 1 if robust
        >>> value, robust = score_published(still, still, DisTracker(), "paper")
        >>> value, robust.fidelity
        (0.0, 1.0)
    """
    diagonal = diagonal_of(generated, reference)
    a, b = (grid_tracks(video, tracker, PUBLISHED[mode]) for video in (generated, reference))
    if mode == "compat_det":
        value = compat_det(a.points_NT2, b.points_NT2, *reference.size[1:])
    else:
        formula = {"paper": paper, "compat_smm": compat_smm, "compat_ditflow": compat_ditflow}[mode]
        value = formula(a.points_NT2, b.points_NT2)
    count = min(a.points_NT2.shape[1], b.points_NT2.shape[1])
    first = [Tracks(tracks.points_NT2[:, :count], tracks.visible_NT[:, :count]) for tracks in (a, b)]
    return value, scores_of_tracks(first[0], first[1], diagonal)


class MotionFidelity(PerVideoMetric):
    """Mean over videos of one mode of motion fidelity.

    Modes: ``robust`` (the headline, with its ``precision`` and ``recall``), ``dynamic`` (weighted by
    speed), ``hybrid`` (mixed with trajectory shapes), ``paper`` (as written) and ``compat_smm``,
    ``compat_ditflow``, ``compat_det`` (as released). At most 1, higher is better. Never compare modes,
    trackers or numbers of frames with each other.

    Example:
        >>> metric = MotionFidelity(tracker=None)
        >>> metric.record([0.5, 0.7, 0.7], index=[0, 1, 1])  # scores of video 0, 1, and 1 again
        >>> round(metric.compute().item(), 3)
        0.6
    """

    beside: list[Tensor]
    """Rows (index, fields of :class:`MotionScores`) of the videos scored by ``update``."""
    nothing = PerVideoMetric.nothing | {"beside": torch.empty(0, 1 + len(BESIDE), dtype=torch.float64)}

    def __init__(
        self,
        tracker: Tracker | None,
        mode: str = "robust",
        frames: int | None = None,
        alignment: str = "truncate",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if mode not in MODES:
            raise ValueError(f"mode={mode!r} of motion fidelity must be one of {', '.join(MODES)}")
        if frames is not None and frames < 2:
            raise ValueError(f"frames={frames} must be at least 2, or null for all frames")
        self.tracker, self.mode, self.frames, self.alignment = tracker, mode, frames, alignment

    def update(self, generated: Videos, references: Videos, index: Sequence[int]) -> None:
        """Track and score pairs of videos."""
        pairs = zip(as_videos(generated), as_videos(references), strict=True)
        results = [self.score(mine, theirs) for mine, theirs in pairs]
        self.record([value for value, _ in results], index)
        rows = [[i, *(getattr(s, name) for name in BESIDE)] for i, (_, s) in zip(index, results, strict=True)]
        self.beside.append(torch.tensor(rows, dtype=torch.float64, device=self.device).view(-1, 1 + len(BESIDE)))

    def score(self, generated: Video, reference: Video) -> tuple[float, MotionScores]:
        """The value of one pair, and coverage, static fraction and speed beside it."""
        if self.tracker is None:
            raise ValueError("this MotionFidelity only records scores: give it a tracker to score videos")
        if self.mode in PUBLISHED:
            return score_published(generated, reference, self.tracker, self.mode)
        diagonal = diagonal_of(generated, reference)
        a, b, low = track_pair(generated, reference, self.tracker, frames=self.frames, alignment=self.alignment)
        scores = replace(scores_of_tracks(a, b, diagonal), low_texture=low)
        if self.mode == "hybrid":
            return hybrid_of_tracks(a, b, diagonal), scores
        return getattr(scores, "fidelity" if self.mode == "robust" else self.mode), scores

    def report(self) -> dict[str, float]:
        """Means over distinct videos of all processes of what :class:`MotionScores` has; empty before ``update``."""
        with self.sync_context():
            rows = dim_zero_cat(self.beside)
        distinct = {int(row[0]): row[1:] for row in rows.flip(0)}
        if not distinct:
            return {}
        return dict(zip(BESIDE, torch.stack(list(distinct.values())).nanmean(0).tolist(), strict=True))
