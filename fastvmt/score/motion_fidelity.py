"""Motion fidelity of videos, and its metric over a benchmark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fastvmt.data.alignment import align
from fastvmt.score.frechet import hybrid
from fastvmt.score.functional import STATIC, MotionScores, motion_fidelity
from fastvmt.score.metric import ScoreMetric
from fastvmt.score.published import compat_det, compat_ditflow, compat_smm, paper
from fastvmt.score.sample import LACKING, Sample
from fastvmt.score.tracklets import GRID, featureless, followed, grid_tracks, seeds, tracklets
from fastvmt.settings import check_choice
from fastvmt.trackers.base import Tracker, Tracks
from fastvmt.types import Truth, Video

JITTER = 0.17
"""Noise of a tracked step in native pixels: shorter steps are static. The rule of 3e-4 diagonals is 0.29 pixels
at 832 x 480 and 0.17 at 480 x 320, but 0.04 in a 96-pixel clip, where the tracker's noise would then pass for motion:
of resting points' steps there 0.89 count as static without this floor, 0.95 with it. It acts on smaller clips only."""
PUBLISHED = {"paper": 55, "compat_smm": 55, "compat_ditflow": 55, "compat_det": 50}
"""Modes on a full grid of the first frame, and the grid's side."""
MODES = ("robust", "precision", "recall", "hybrid", *PUBLISHED)
"""The others are on tracks of textured points from three frames."""
COLUMNS = (
    "motion_fidelity",
    "motion_fidelity_dynamic",
    "motion_fidelity_foreground",
    "motion_fidelity_true",
    "motion_fidelity_dynamic_true",
    "static_fraction",
    "static_fraction_reference",
    "speed",
    "speed_reference",
    "coverage",
    "coverage_reference",
    "low_coverage",
    "low_texture",
)
"""Of mode robust: the score, its other weightings and references, and what it is to be read with."""
TRUE = ("motion_fidelity_true", "motion_fidelity_dynamic_true")
"""Those of them that need the true motion. They live here, and not in ``fastvmt.world``, because they are the
headline's own rule with other tracks for the reference's: they read a :class:`Truth`, and no world that drew it."""


def diagonal_of(generated: Video, reference: Video) -> float:
    """The frame's diagonal in pixels; raises ``ValueError`` for videos of unequal size."""
    if generated.size[1:] != reference.size[1:]:
        raise ValueError(
            f"motion is compared between videos of one size, got {generated.size[1:]} (generated) and "
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
    generated: Video, reference: Video, tracker: Tracker, foreground_THW: Tensor | None = None
) -> tuple[Tracks, Tracks, bool]:
    """Tracks of the frames that two videos share, and whether one has little texture; see :func:`score_motion`."""
    mine, theirs, _ = align(generated, reference, "truncate", match_rate=False)
    own, low = seeds(mine)
    other, also_low = seeds(theirs, foreground_THW)
    return followed(mine, tracker, own), followed(theirs, tracker, other), low or also_low


def score_motion(
    generated: Video, reference: Video, tracker: Tracker, foreground_THW: Tensor | None = None
) -> MotionScores:
    """Robust motion fidelity of one pair (after Yatim et al., 2024) in [-1, 1], over the shorter length.

    Args:
        generated, reference: the reference must be the clip that the generator saw; frame i is compared with frame i.
        tracker: follows the points.
        foreground_THW: bool mask of the reference as it is scored; keeps its tracks from foreground points.

    NaN where either video is featureless. Raises ``ValueError`` for unequal sizes or one frame.

    Example:
        >>> from fastvmt.trackers.dis import DisTracker
        >>> wave = (127 + 120 * torch.sin(torch.arange(80.0) / 3) * torch.sin(torch.arange(64.0) / 4)[:, None]).byte()
        >>> pan = Video(torch.stack([wave[:, t : t + 64, None].expand(-1, -1, 3) for t in range(9)]), fps=8)
        >>> back = Video(pan.frames_THWC.flip(0), fps=8)
        >>> black = Video(torch.zeros_like(pan.frames_THWC), fps=8)
        >>> [round(score_motion(clip, pan, DisTracker()).fidelity, 1) for clip in (pan, back, black)]
        [1.0, -1.0, nan]
    """
    diagonal = diagonal_of(generated, reference)
    a, b, low = track_pair(generated, reference, tracker, foreground_THW)
    return replace(scores_of_tracks(a, b, diagonal), low_texture=low)


def score_true_motion(generated: Video, truth: Truth, tracker: Tracker) -> MotionScores:
    """Robust motion fidelity (after Yatim et al., 2024) to the reference's true tracks, in [-1, 1].

    Args:
        generated: of the size and number of frames that ``truth`` describes.
        truth: its points lie on a grid over every object and over the background, unlike the textured ones
            of :func:`seeds`: do not compare the values with those of :func:`score_motion`.

    Example:
        >>> from fastvmt.trackers.dis import DisTracker
        >>> noise = torch.randint(0, 255, (1, 64, 64, 3), generator=torch.Generator().manual_seed(0)).byte()
        >>> still, seen = Video(noise.expand(9, -1, -1, -1), fps=8), torch.ones(1, 9).bool()
        >>> rest = Truth(torch.zeros(1, 9, 2), torch.zeros(1, 9, 2), seen, torch.zeros(1).long())
        >>> score_true_motion(still, rest, DisTracker()).fidelity
        1.0
    """
    known = Tracks(truth.tracks_NT2, truth.visible_NT)
    return scores_of_tracks(tracklets(generated, tracker), known, math.hypot(*generated.size[1:]))


def score_published(generated: Video, reference: Video, tracker: Tracker, mode: str) -> float:
    """A score of :mod:`fastvmt.score.published` (Yatim et al., 2024, and others); the ranges are those there.

    NaN where either video is featureless. Raises ``ValueError`` for unequal sizes.

    Example:
        >>> from fastvmt.trackers.dis import DisTracker
        >>> noise = torch.randint(0, 255, (1, 64, 64, 3), generator=torch.Generator().manual_seed(0)).byte()
        >>> still = Video(noise.expand(3, -1, -1, -1), fps=8)  # rests: 0 as written, 1 if robust
        >>> score_published(still, still, DisTracker(), "paper")
        0.0
    """
    diagonal_of(generated, reference)
    a, b = (grid_tracks(video, tracker, PUBLISHED[mode]).points_NT2 for video in (generated, reference))
    if mode == "compat_det":
        return compat_det(a, b, *reference.size[1:])
    return {"paper": paper, "compat_smm": compat_smm, "compat_ditflow": compat_ditflow}[mode](a, b)


class MotionFidelity(ScoreMetric):
    """One mode of motion fidelity.

    Modes: ``robust`` (the headline, with what it is to be read with beside it), ``precision`` and ``recall`` (its
    directions), ``hybrid`` (mixed with trajectory shapes), ``paper`` (as written) and ``compat_smm``,
    ``compat_ditflow``, ``compat_det`` (as released). At most 1, higher is better. Never compare modes, trackers or
    numbers of frames with each other. Raises ``ValueError`` for another mode.

    Example:
        >>> from fastvmt.trackers.dis import DisTracker
        >>> wave = (127 + 120 * torch.sin(torch.arange(80.0) / 3) * torch.sin(torch.arange(64.0) / 4)[:, None]).byte()
        >>> pan = torch.stack([wave[:, t : t + 64].expand(3, -1, -1) for t in range(9)])
        >>> metric = MotionFidelity(DisTracker())
        >>> metric.update([pan, pan.flip(0)], index=[0, 1], references=[pan, pan])
        >>> round(metric.compute().item(), 1)
        0.0
    """

    def __init__(self, tracker: Tracker, mode: str = "robust", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("mode", mode, MODES)
        self.tracker = tracker
        self.mode = mode
        self.columns = COLUMNS if mode == "robust" else (f"motion_fidelity_{mode}",)

    @property
    def source(self) -> dict[str, Any]:
        side = PUBLISHED.get(self.mode)
        points = f"{side} x {side} of frame 0" if side else f"textured ones of {GRID} x {GRID}, of three frames"
        rule = {} if side else {"static_step": f"below {STATIC:g} diagonals or {JITTER:g} pixels"}
        return {"mode": self.mode, "tracker": self.tracker.id, "points": points, **rule}

    def measure(self, sample: Sample) -> dict[str, float]:
        video = sample.video
        reference = sample.reference
        if reference is None:
            return dict.fromkeys(self.columns, math.nan)
        if self.mode == "robust":
            return self.headline(video, reference, sample.truth, sample.foreground_THW)
        if self.mode in PUBLISHED:
            value = score_published(video, reference, self.tracker, self.mode)
        elif self.mode == "hybrid":
            diagonal = diagonal_of(video, reference)
            a, b, _ = track_pair(video, reference, self.tracker)
            value = hybrid_of_tracks(a, b, diagonal)
        else:
            value = getattr(score_motion(video, reference, self.tracker), self.mode)
        return {self.columns[0]: value}

    def reasons(self, sample: Sample, found: Mapping[str, float]) -> dict[str, str]:
        told: dict[str, str] = {}
        if sample.foreground_THW is None:
            told["motion_fidelity_foreground"] = LACKING["mask"]
        if sample.truth is None:
            told |= dict.fromkeys(TRUE, LACKING["truth"])
        if math.isnan(found[self.columns[0]]):
            clips = {"the video": sample.video, "the reference": sample.reference}
            bare = [what for what, clip in clips.items() if clip is not None and featureless(clip)]
            if bare:
                told = dict.fromkeys(self.columns, f"{' and '.join(bare)} without texture to follow") | told
        return told

    def headline(
        self, video: Video, reference: Video, truth: Truth | None, foreground_THW: Tensor | None
    ) -> dict[str, float]:
        """``COLUMNS``; those of a mask or of true tracks are NaN where there is none."""
        found = score_motion(video, reference, self.tracker)
        masked = None if foreground_THW is None else score_motion(video, reference, self.tracker, foreground_THW)
        known = None if truth is None else score_true_motion(video, truth, self.tracker)
        return {
            "motion_fidelity": found.fidelity,
            "motion_fidelity_dynamic": found.dynamic,
            "motion_fidelity_foreground": math.nan if masked is None else masked.fidelity,
            "motion_fidelity_true": math.nan if known is None else known.fidelity,
            "motion_fidelity_dynamic_true": math.nan if known is None else known.dynamic,
            "static_fraction": found.static_generated,
            "static_fraction_reference": found.static_reference,
            "speed": found.speed_generated,
            "speed_reference": found.speed_reference,
            "coverage": found.coverage_generated,
            "coverage_reference": found.coverage_reference,
            "low_coverage": float(found.low_coverage),
            "low_texture": float(found.low_texture),
        }
