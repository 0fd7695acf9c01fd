"""How far tracks of a generated video lie from the reference's, for videos that begin with the same picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from fastvmt.data.alignment import align
from fastvmt.score.functional import STATIC
from fastvmt.score.metric import ScoreMetric
from fastvmt.score.motion_fidelity import JITTER, diagonal_of
from fastvmt.score.networks import Networks
from fastvmt.score.published import check_frames
from fastvmt.score.registry import score
from fastvmt.score.sample import Sample
from fastvmt.score.tracklets import GRID, featureless, followed, seeds
from fastvmt.settings import check_choice
from fastvmt.trackers.base import Tracker, Tracks
from fastvmt.types import Video

KINDS = ("epe", "ctd")


def end_point_error(generated_NT2: Tensor, reference_NT2: Tensor, visible_NT: Tensor) -> float:
    """End-point error of tracks (EPE; MoveBench, Chu et al., 2025), in the positions' unit, at least 0.

    Mean distance of track n from track n over all frames after the first in which the reference shows the point;
    the generated video's visibility is ignored. ``visible_NT`` is the reference's. The first frame, where both are
    the query, is left out: with it the value is smaller by a factor of (T - 1) / T. NaN where no point is visible.
    Raises ``ValueError`` for tracks of unequal numbers or lengths.

    Example:
        >>> right = torch.arange(5.0)[None, :, None] * torch.tensor([1.0, 0.0])
        >>> end_point_error(right + torch.tensor([3.0, 4.0]), right, torch.ones(1, 5).bool())
        5.0
    """
    distance_NS, seen_NS = distances(generated_NT2, reference_NT2, visible_NT)
    return float(distance_NS[seen_NS].mean()) if seen_NS.any() else math.nan


def cotracker_distance(generated_NT2: Tensor, reference_NT2: Tensor, visible_NT: Tensor) -> float:
    """Distance of trajectories (CTD; MC-Bench, Zhang et al., 2025), in the positions' unit, at least 0.

    As :func:`end_point_error`, but averaged over the frames of every trajectory and then over trajectories, each
    of which weighs the same however long it is seen.

    Example:
        >>> here, seen = torch.zeros(2, 3, 2), torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()
        >>> there = torch.tensor([0.0, 9.0])[:, None, None] * torch.tensor([1.0, 0.0])
        >>> cotracker_distance(here + there, here, seen), end_point_error(here + there, here, seen)
        (4.5, 3.0)
    """
    distance_NS, seen_NS = distances(generated_NT2, reference_NT2, visible_NT)
    count_N = seen_NS.sum(1)
    mean_N = (distance_NS.where(seen_NS, 0.0).sum(1) / count_N)[count_N > 0]
    return float(mean_N.mean()) if len(mean_N) else math.nan


def distances(generated_NT2: Tensor, reference_NT2: Tensor, visible_NT: Tensor) -> tuple[Tensor, Tensor]:
    """Distances in the S = T - 1 frames after the first (N, S), and where the reference shows the point (N, S)."""
    check_frames(generated_NT2, reference_NT2, equal=True)
    if generated_NT2.shape != reference_NT2.shape or visible_NT.shape != reference_NT2.shape[:2]:
        shapes = [tuple(each.shape) for each in (generated_NT2, reference_NT2, visible_NT)]
        raise ValueError(f"tracks of the same points are compared, got {shapes[0]}, {shapes[1]}, visible {shapes[2]}")
    return (generated_NT2 - reference_NT2)[:, 1:].norm(dim=-1), visible_NT[:, 1:]


def moving(tracks: Tracks, diagonal: float) -> Tensor:
    """Which points (N,) move: by more than the tracker's noise in the mean visible step."""
    seen_NS = tracks.visible_NT[:, 1:] & tracks.visible_NT[:, :-1]
    step_NS = tracks.points_NT2.diff(dim=1).norm(dim=-1).where(seen_NS, 0.0)
    mean_N: Tensor = step_NS.sum(1) / seen_NS.sum(1).clamp(min=1)
    return mean_N > max(STATIC * diagonal, JITTER)


class TrackDistance(ScoreMetric):
    """Distance of tracks that start at the same points of frame 0, in pixels; lower is better.

    Kinds: ``epe`` (all textured points, :func:`end_point_error`) and ``ctd`` (those of the subject's mask, or without
    one those that move in the reference, :func:`cotracker_distance`). The second column is in diagonals of the frame.
    Raises ``ValueError`` for another kind.

    Example:
        >>> from fastvmt.trackers.dis import DisTracker
        >>> wave = (127 + 120 * torch.sin(torch.arange(80.0) / 3) * torch.sin(torch.arange(64.0) / 4)[:, None]).byte()
        >>> pan = torch.stack([wave[:, t : t + 64].expand(3, -1, -1) for t in range(9)])
        >>> metric = TrackDistance(DisTracker(), "epe")
        >>> metric.update([pan], index=[0], references=[pan])
        >>> metric.compute().item()
        0.0
    """

    higher_is_better = False

    def __init__(self, tracker: Tracker, kind: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("kind", kind, KINDS)
        self.tracker = tracker
        self.kind = kind
        self.columns = (kind, f"{kind}_diagonals")

    @property
    def source(self) -> dict[str, Any]:
        chosen = {"epe": "", "ctd": "; those of the mask, or those that move"}[self.kind]
        return {"tracker": self.tracker.id, "points": f"textured ones of {GRID} x {GRID}, of frame 0{chosen}"}

    def measure(self, sample: Sample) -> dict[str, float]:
        pair = self.pair(sample)
        if pair is None:
            return dict.fromkeys(self.columns, math.nan)
        formula = {"epe": end_point_error, "ctd": cotracker_distance}[self.kind]
        mine, theirs, diagonal = pair
        value = formula(mine.points_NT2, theirs.points_NT2, theirs.visible_NT)
        return dict(zip(self.columns, (value, value / diagonal), strict=True))

    def pair(self, sample: Sample) -> tuple[Tracks, Tracks, float] | None:
        """Tracks of the points that count, generated and of the reference, and the diagonal; None without them."""
        if sample.reference is None or featureless(sample.video):
            return None
        diagonal = diagonal_of(sample.video, sample.reference)
        mine, theirs, _ = align(sample.video, sample.reference, "truncate", match_rate=False)
        mask_THW = None if sample.foreground_THW is None else sample.foreground_THW[: theirs.size[0]]
        queries = first_frame(theirs, mask_THW if self.kind == "ctd" else None)
        a, b = (followed(video, self.tracker, queries) for video in (mine, theirs))
        if self.kind == "ctd" and mask_THW is None:
            keep = moving(b, diagonal)
            a, b = (Tracks(each.points_NT2[keep], each.visible_NT[keep]) for each in (a, b))
        return a, b, diagonal

    def reasons(self, sample: Sample, found: Mapping[str, float]) -> dict[str, str]:
        if not math.isnan(found[self.kind]):
            return {}
        clips = {"the video": sample.video, "the reference": sample.reference}
        bare = [what for what, clip in clips.items() if clip is not None and featureless(clip)]
        why = f"{' and '.join(bare)} without texture to follow" if bare else "no point of the reference to follow"
        return dict.fromkeys(self.columns, why)


def first_frame(reference: Video, foreground_THW: Tensor | None) -> Tensor:
    """Queries (t, x, y) on texture in the first frame, of the mask where there is one."""
    queries, _ = seeds(reference, foreground_THW)
    return queries[queries[:, 0] == 0]


LIMITS = (
    "the first frames do not show the same scene, as after a change of prompt: only for image-to-video and "
    "drags; values of other trackers, sizes or lengths do not compare"
)


@score(
    "epe",
    definition="mean distance of tracks of the same points of frame 0 from the reference's, in pixels of the scored "
    "video; _diagonals: in diagonals",
    source="end-point error of MoveBench (Chu et al., 2025, Wan-Move)",
    range=">= 0",
    limits=LIMITS,
    direction="lower",
    needs=("reference",),
    columns=("epe", "epe_diagonals"),
)
def track_distance(networks: Networks, kind: str = "epe") -> TrackDistance:
    return TrackDistance(networks.tracker, kind)


score(
    "ctd",
    definition="epe of the subject's trajectories: points of the mask, or without one those that move in the "
    "reference; every trajectory weighs the same",
    source="CoTracker distance of MC-Bench (Zhang et al., 2025, MotionPro), over all frames",
    range=">= 0",
    limits=LIMITS,
    direction="lower",
    needs=("reference", "mask"),
    columns=("ctd", "ctd_diagonals"),
)(partial(track_distance, kind="ctd"))
