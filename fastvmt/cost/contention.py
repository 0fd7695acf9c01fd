"""CPU seconds of a transfer per stage, and whether others wanted the machine at the same time.

Wall seconds of a busy machine say nothing about a method; seconds of CPU still do, to about a tenth.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable

import torch

SLACK = 0.1
"""Share of the machine by which what is wanted may be above what is there, and of a core's time that may be missing."""


def starved(wall: float, own: float) -> bool:
    """Whether a process that computes on the CPU got less than one core's time: it was stopped, or had to wait."""
    return own < (1 - SLACK) * wall


def device_contended(processes: int | None, busy: bool, host_bound: bool | None) -> bool:
    """Whether others kept a GPU from its work: of ``processes`` on it, or a ``busy`` host where that sets the time.

    Where nobody counts processes the host alone is asked.
    """
    if processes is None:
        return busy
    return processes > 1 or (busy and bool(host_bound))


class Contention:
    """A meter of this process' CPU seconds per stage and of those that others used from the first border to the last.

    ``own`` and ``machine`` give CPU seconds so far, of this process and of all that runs.
    """

    def __init__(self, own: Callable[[], float], machine: Callable[[], float], cpus: int) -> None:
        self.own = own
        self.machine = machine
        self.cpus = cpus
        self.seconds: dict[str, float] = defaultdict(float)
        self._first: tuple[float, float, float] | None = None
        self._last = (0.0, 0.0, 0.0)

    def border(self, stage: str | None) -> None:
        """See :class:`fastvmt.stopwatch.Meter`."""
        now = (time.perf_counter(), self.own(), self.machine())
        if self._first is None:
            self._first = now
        elif stage is not None:
            self.seconds[stage] += now[1] - self._last[1]
        self._last = now

    @property
    def others(self) -> float:
        """CPU seconds that other processes, and other guests of the host, used meanwhile."""
        _, own, machine = self.elapsed()
        return max(0.0, machine - own)

    def elapsed(self) -> tuple[float, float, float]:
        """Wall seconds, CPU seconds of this process and those of the machine between the borders."""
        wall, own, machine = (last - first for last, first in zip(self._last, self._first or self._last, strict=True))
        return wall, own, machine

    def contended(self, threads: int) -> bool:
        """Whether others and the threads in use together wanted more than the machine has."""
        wall = self.elapsed()[0]
        return wall > 0 and self.others / wall + min(threads, self.cpus) > (1 + SLACK) * self.cpus


def open_contention() -> Contention:
    """A meter of this process on this machine."""
    import psutil

    def machine() -> float:
        times = psutil.cpu_times()._asdict()
        counted_twice = ("idle", "iowait", "guest", "guest_nice")
        return float(sum(value for name, value in times.items() if name not in counted_twice))

    return Contention(time.process_time, machine, os.cpu_count() or torch.get_num_threads())
