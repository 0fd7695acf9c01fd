"""Joules per stage of one GPU, or of the processors.

zeus and codecarbon read the same counters (NVML, RAPL). They stay out: zeus 0.16 brings pandas, scikit-learn, httpx
and amdsmi, codecarbon 3.3 pandas, requests, prometheus_client and ten more, where this module, ``nvml`` and ``rapl``
are 250 lines and one optional dependency; and what these do beside reading (a counter that wraps or restarts, a MIG
slice, stages within stages, a missing value with its reason) would have to stay.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np

from fastvmt.cost.cost import Energy
from fastvmt.cost.nvml import Nvml
from fastvmt.cost.rapl import Rapl

SHORTEST = 1.0
"""Seconds below which a stage has no energy of its own: the counter refreshes every 20 to 100 ms."""
WRAP = 2**32
"""Where the counters of some drivers start again, mJ."""


def counted(before: int, after: int) -> int | None:
    """Millijoules between two readings of the counter.

    A counter that went from the upper half of 32 bits to the lower one has wrapped; one that fell
    otherwise was reset (the driver was loaded anew), which leaves the difference unknown: None.
    """
    if after >= before:
        return after - before
    wrapped = WRAP // 2 <= before < WRAP and after < WRAP // 2
    return after + WRAP - before if wrapped else None


class EnergyMeter:
    """Charges the energy between borders to stages: the counter's, else the integral of sampled power.

    One reading that fails makes its stage, and the total, unknown. Idle power is included.
    """

    def __init__(self, source: Nvml | Rapl | None, reason: str, clock: Callable[[], float] = time.perf_counter) -> None:
        """``reason`` says why ``source`` is None or mute; empty when it is neither."""
        self.source = source
        self.reason = reason
        self.clock = clock
        self.millijoules: dict[str, float] = defaultdict(float)
        self.unknown: set[str] = set()
        self.method: str | None = None
        self._lock = threading.Lock()
        self._power: list[tuple[float, int | None]] = []
        self._before: int | None = None
        if source is None or reason:
            return
        if source.energy_mj() is not None:
            self.method = "counter"
        elif source.power_mw() is not None:
            self.method = "sampled power"
        else:
            self.reason = "the device reports neither energy nor power"

    def sample(self) -> None:
        """Take a power sample (the fallback's only; called by a poller)."""
        if self.method == "sampled power" and self.source is not None:
            reading = self.clock(), self.source.power_mw()
            with self._lock:
                self._power.append(reading)

    def border(self, stage: str | None) -> None:
        """See :class:`fastvmt.stopwatch.Meter`."""
        if self.method is None or self.source is None:
            return
        spent = self._counter() if self.method == "counter" else self._integral()
        if stage is None:
            return
        if spent is None:
            self.unknown.add(stage)
        else:
            self.millijoules[stage] += spent

    def _counter(self) -> float | None:
        assert self.source is not None
        before, self._before = self._before, self.source.energy_mj()
        return None if before is None or self._before is None else counted(before, self._before)

    def _integral(self) -> float | None:
        """Trapezoids through the samples since the last border (mW s = mJ)."""
        self.sample()
        with self._lock:
            samples, self._power = self._power, self._power[-1:]
        if len(samples) < 2 or any(power is None for _, power in samples):
            return None
        at, power = np.array(samples, float).T
        return float(np.trapezoid(power, at))

    def report(self, seconds: Mapping[str, float], frames: int) -> Energy:
        """Give joules per stage, in total and per generated frame.

        ``seconds`` are the stages' durations: stages below a second count in the total only.
        """
        if self.method is None:
            return Energy(None, self.reason, None, None, None)
        joules = {
            stage: None if stage in self.unknown or duration < SHORTEST else self.millijoules[stage] / 1000
            for stage, duration in seconds.items()
        }
        whole = not self.unknown and sum(seconds.values()) >= SHORTEST
        total = sum(self.millijoules.values()) / 1000 if whole else None
        per_frame = None if total is None else total / frames
        reason = "" if whole else "shorter than a second, or a reading failed"
        return Energy(self.method, reason, joules, total, per_frame)
