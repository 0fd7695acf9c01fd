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

    def track(self, frames_THWC: Tensor, queries_N3: Tensor) -> Tracks:
        """Tracks of ``queries_N3`` = (t, x, y) through uint8 RGB frames; frame t shows the point at (x, y)."""
        ...
