"""Tracks kept on disk: a reference is tracked once, not once per generated video."""

from __future__ import annotations

from torch import Tensor

from fastvmt.cache import TensorCache, content_key
from fastvmt.trackers.base import Tracker, Tracks


class CachedTracker:
    """Any tracker, with a cache keyed by the clip's pixels, the queries and the tracker's id."""

    def __init__(self, tracker: Tracker, cache: TensorCache) -> None:
        self.tracker = tracker
        self.cache = cache

    @property
    def id(self) -> str:
        return self.tracker.id

    def track(self, frames_THWC: Tensor, queries_N3: Tensor) -> Tracks:
        """Stored tracks, or those of the tracker."""
        key = content_key(
            kind="tracks",
            tracker=self.tracker.id,
            frames=frames_THWC,
            shape=list(frames_THWC.shape),
            queries=queries_N3,
        )
        stored = self.cache.get(key, lambda: vars(self.tracker.track(frames_THWC, queries_N3)))
        return Tracks(stored["points_NT2"], stored["visible_NT"])
