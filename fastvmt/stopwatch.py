"""Seconds per named stage, device-synchronised at the borders, with room for other meters."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch

KEPT = "reference_kept"
"""Readings of the reference that the cache had: what they took when they were made, CPU seconds where that computes."""
HOST_BOUND = 0.03
"""Relative difference of the two clocks above which the host, not the device, sets the time."""


class Meter(Protocol):
    """Measures something else than time between the same borders."""

    def border(self, stage: str | None) -> None:
        """What happened since the last border belongs to ``stage``, or to none."""


class Event(Protocol):
    """A mark on the device's stream, as ``torch.cuda.Event``."""

    def record(self, stream: Any = None) -> None: ...

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds to a later mark."""


class Stopwatch:
    """Accumulates time per stage. Nested stages are charged to the inner one only.

    On CUDA devices the seconds are those between events on the current stream; the wall clock
    between the same borders is kept beside them in ``wall``. Elsewhere both are the wall clock.
    ``meters`` are read at every border, outside the measured time.
    """

    def __init__(
        self,
        device: torch.device,
        meters: Sequence[Meter] = (),
        clock: Callable[[], float] | None = None,
        event: Callable[[], Event] | None = None,
    ) -> None:
        self.device = device
        self.meters = meters
        self.clock = clock or time.perf_counter
        on_cuda = device.type == "cuda"
        self.event = event or (partial(torch.cuda.Event, enable_timing=True) if on_cuda else None)
        self.wall: dict[str, float] = defaultdict(float)
        self._marks: list[tuple[str, Event, Event]] = []
        self._stack: list[str] = []
        self._mark = 0.0
        self._earlier: dict[str, float] = {}
        self.charged: dict[str, float] = {}
        """Seconds of :meth:`charge` by key; NaN is not known."""
        self._start: Event | None = None

    def _recorded(self) -> Event | None:
        if self.event is None:
            return None
        event = self.event()
        event.record(torch.cuda.current_stream(self.device) if self.device.type == "cuda" else None)
        return event

    def _border(self) -> None:
        end = self._recorded()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = self.clock()
        stage = self._stack[-1] if self._stack else None
        if stage is not None:
            self.wall[stage] += now - self._mark
            if self._start is not None and end is not None:
                self._marks.append((stage, self._start, end))
        for meter in self.meters:
            meter.border(stage)
        self._mark = self.clock() if self.meters else now
        self._start = self._recorded()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge the time inside the context to ``name``."""
        self._border()
        self._stack.append(name)
        try:
            yield
        finally:
            self._border()
            self._stack.pop()

    def go_on(
        self, seconds: Mapping[str, float], wall: Mapping[str, float], charged: Mapping[str, float] | None = None
    ) -> None:
        """Count from what an earlier process had, by both clocks, instead of from what this one has prepared."""
        self._border()
        self._marks.clear()
        self._earlier = dict(seconds)
        self.charged = dict(charged or {})
        self.wall = defaultdict(float, wall)

    def charge(self, key: str, seconds: float) -> None:
        """Take note, at the first use of what has ``key``, of the seconds that it took elsewhere; 0 if made here."""
        self.charged.setdefault(key, seconds)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds per stage."""
        if self.event is None:
            return dict(self.wall)
        device: dict[str, float] = defaultdict(float, self._earlier)
        for stage, start, end in self._marks:
            device[stage] += start.elapsed_time(end) / 1000
        return dict(device)

    @property
    def host_bound(self) -> bool | None:
        """Whether events and wall clock differ by more than 3 %; None where there are no events."""
        if self.event is None or not self.wall:
            return None
        device, wall = sum(self.seconds.values()), sum(self.wall.values())
        return abs(wall - device) > HOST_BOUND * device

    def totals(self) -> dict[str, float]:
        """Seconds per stage, their sum as ``total``, and in neither what was charged, where something could be."""
        seconds = self.seconds
        kept = {KEPT: sum(self.charged.values())} if self.charged else {}
        return seconds | {"total": sum(seconds.values())} | kept
