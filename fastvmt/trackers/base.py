"""What a point tracker is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Tracks:
    """N points over T frames."""

    points_NT2: Tensor
    """float32 (x, y) in pixels; the centre of the top left pixel is (0, 0)."""
    visible_NT: Tensor
    """bool; positions of invisible points carry no information."""

    def __post_init__(self) -> None:
        points, visible = tuple(self.points_NT2.shape), tuple(self.visible_NT.shape)
        if len(points) != 3 or points[2] != 2 or visible != points[:2]:
            raise ValueError(f"tracks are (N, T, 2) with visibility (N, T), got {points} and {visible}")


class Tracker(Protocol):
    """Follows points forward and backward in time."""

    @property
    def id(self) -> str:
        """Names the tracker, its parameters and its weights: equal ids give equal tracks."""
        ...

    def track(self, frames_THWC: Tensor, queries_N3: Tensor) -> Tracks:
        """Tracks of ``queries_N3`` = (t, x, y) through uint8 RGB frames; frame t shows the point at (x, y)."""
        ...


def check_queries(frames_THWC: Tensor, queries_N3: Tensor) -> None:
    """Raise ``ValueError`` for fewer than two frames or a query outside them."""
    frames = len(frames_THWC)
    if frames < 2:
        raise ValueError(f"tracking needs at least 2 frames, got {frames}")
    if len(queries_N3):
        first, last = int(queries_N3[:, 0].min()), int(queries_N3[:, 0].max())
        if first < 0 or last >= frames:
            raise ValueError(f"query frames must be in [0, {frames - 1}], got {first}..{last}")
