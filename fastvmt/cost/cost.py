"""What a transfer cost, as numbers: seconds, memory, energy and arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

LOOP = ("guide", "denoise")
"""Stages of the loop that every case pays. Reading the reference is not among them: other cases have read it before."""
WITH_REFERENCE = "loop_with_reference"
"""The key of the publications' time."""


def loop(seconds: Mapping[str, float]) -> float:
    """Sum the seconds of ``LOOP``; NaN without any."""
    return sum(seconds.get(stage, 0.0) for stage in LOOP) if any(stage in seconds for stage in LOOP) else math.nan


def loop_with_reference(seconds: Mapping[str, float]) -> float:
    """Sum the seconds of the loop and of reading the reference: the publications' time."""
    return sum(seconds.get(stage, 0.0) for stage in ("reference", *LOOP))


def peak(memory_gib: Mapping[str, Mapping[str, float | None] | None], kind: str) -> float | None:
    """Take the largest value over stages of one kind of memory; None where none was read."""
    known = [value for value in (memory_gib.get(kind) or {}).values() if value is not None]
    return max(known, default=None)


@dataclass(frozen=True)
class Energy:
    """Joules of one meter; None is n/a, for the ``reason``."""

    method: str | None
    """``counter`` or ``sampled power``."""
    reason: str
    joules: dict[str, float | None] | None
    """Per stage; those below a second count in the total only."""
    total: float | None
    per_frame: float | None


@dataclass(frozen=True)
class Cost:
    """The account of a case, by stages as :mod:`fastvmt.cost.account` names them; None is n/a."""

    seconds: dict[str, float]
    """``loop_with_reference`` and ``total`` of the generation, and outside of both ``metrics`` and ``save``."""
    wall_seconds: dict[str, float]
    host_bound: bool | None
    """Whether the host, not the device, set the time."""
    process_cpu_seconds: float
    cpu_seconds: dict[str, float]
    """Of this process, per stage: they compare methods on a busy machine too, to about a tenth."""
    others_cpu_seconds: float
    """Of all else that ran on the machine meanwhile."""
    contended: bool
    """Whether others wanted the machine too; :func:`fastvmt.results.machines.contended` says what to make of it."""
    threads: int
    memory_gib: dict[str, dict[str, float | None] | None]
    """Peak per stage by kind: allocated, reserved, device, resident."""
    energy: Energy
    """Of the GPU."""
    cpu_energy: Energy
    transformer_flops: dict[str, float] | None
    """Forward, backward, recompute, total; None for an architecture without a closed form."""

    def of_the_rest(self) -> Cost:
        """The account of a case that an earlier process had begun: what no meter has seen whole is n/a."""
        unseen = Energy(None, "an earlier process had begun the case", None, None, None)
        nan = math.nan
        return replace(self, process_cpu_seconds=nan, cpu_seconds={}, energy=unseen, cpu_energy=unseen)
