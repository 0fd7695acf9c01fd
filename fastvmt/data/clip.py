"""A clip whose frames are decoded when they are asked for."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from fastvmt.types import Video

Picture = NDArray[np.uint8]
"""RGB of shape (H, W, 3), in [0, 255]."""


def same_rate(rate: float, other: float) -> bool:
    """Whether two frame rates are one within half a percent of ``other``: containers round 23.976."""
    return abs(rate - other) <= 0.005 * other


@dataclass(frozen=True)
class Clip:
    """What a player shows of a video file or of a folder of pictures."""

    name: str
    times: tuple[float, ...]
    """When each frame is shown, seconds from the first one, increasing."""
    fps: float
    """Frames per second: the nominal rate, or the mean one where the rate varies."""
    height: int
    width: int
    pictures: Callable[[Sequence[int]], Iterator[Picture]]
    """Decodes the frames of increasing indices, one at a time."""
    notes: tuple[str, ...] = ()
    """What was done so that the frames look as a player shows them."""
    previews: Callable[[Sequence[int]], Iterable[Picture] | None] = lambda index: None
    """The same frames small, in any proportions; None where they cannot be had for less."""

    @property
    def size(self) -> tuple[int, int, int]:
        """Frames, height, width."""
        return len(self.times), self.height, self.width

    @cached_property
    def constant(self) -> bool:
        """Whether every frame is shown within half a frame's time of a constant rate."""
        return all(abs(time * self.fps - i) <= 0.5 for i, time in enumerate(self.times))

    def nearest(self, start: int, steps: int, rate: float) -> int:
        """The frame shown nearest to ``steps`` / ``rate`` seconds after frame ``start``, of two the later.

        The number of frames stands for a time when the clip is over, half a mean interval after its last frame.
        """
        count = len(self.times)
        if self.constant:
            return min(count, start + math.floor(steps * (self.fps / rate) + 0.5))
        time = self.times[start] + steps / rate
        after = bisect_left(self.times, time)
        if after == count:
            return count - 1 if time < self.times[-1] + 0.5 / self.fps else count
        return after if after == 0 or self.times[after] - time <= time - self.times[after - 1] else after - 1

    def read(self, index: Sequence[int] | None = None) -> Video:
        """Frames in memory, all of them by default: height x width x 3 bytes each.

        Raises ``ValueError`` for more than there is memory for, and as the decoder does.
        """
        chosen = range(len(self.times)) if index is None else index
        try:
            frames = np.empty((len(chosen), self.height, self.width, 3), np.uint8)
        except MemoryError:
            need = len(chosen) * self.height * self.width * 3 / 2**30
            raise ValueError(
                f"{self.name!r}: {len(chosen)} frames take {need:.1f} GiB of memory: cut it first"
            ) from None
        for place, picture in zip(frames, self.pictures(chosen), strict=True):
            place[:] = picture
        return Video(torch.from_numpy(frames), self.fps, self.name)
