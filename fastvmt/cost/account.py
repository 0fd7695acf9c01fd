"""Everything that one case costs, measured around the same stages.

Stages of a case, in the names of the records: ``encode`` (the reference through the autoencoder and
the prompts through the text encoder), ``tune`` (methods that train on the reference), ``reference``
(forwards that read the reference's motion), ``guide`` (the inner optimisation), ``denoise`` (the
sampler's steps without those), ``decode``. ``total`` is their sum. ``loop`` = reference + guide +
denoise is what the publication times. Outside of both: ``load`` (weights), ``metrics``, ``save``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from fastvmt.cost.energy import EnergyMeter
from fastvmt.cost.memory import AllocatorPeak, SampledPeak, resident_bytes
from fastvmt.cost.nvml import Nvml
from fastvmt.cost.poller import Poller
from fastvmt.cost.rapl import open_rapl
from fastvmt.stopwatch import Meter, Stopwatch

LOOP = ("reference", "guide", "denoise")
INTERVAL = 0.05
"""Seconds between samples of power and memory."""


def loop_seconds(seconds: Mapping[str, float]) -> float:
    """Seconds of the denoising loop with its guidance: the publication's time."""
    return sum(seconds.get(stage, 0.0) for stage in LOOP)


class CostAccount:
    """A stopwatch with its meters; sampling runs inside the context."""

    def __init__(self, device: torch.device, nvml: Nvml | None, reason: str) -> None:
        """``nvml`` and ``reason`` as :func:`fastvmt.cost.nvml.open_nvml` returns them."""
        self.resident = SampledPeak(resident_bytes())
        self.device_used = SampledPeak(lambda: None if nvml is None else nvml.used_bytes())
        self.energy = EnergyMeter(nvml, reason)
        self.rapl, no_rapl = open_rapl()
        self.cpu_energy = EnergyMeter(self.rapl, no_rapl)
        self.allocator = AllocatorPeak(device) if device.type == "cuda" else None
        meters: list[Meter] = [self.resident, self.device_used, self.energy, self.cpu_energy]
        self.watch = Stopwatch(device, [*meters, self.allocator] if self.allocator else meters)
        self.poller = Poller(self.sample, INTERVAL)
        self.process_seconds = 0.0

    def sample(self) -> None:
        """One sample of everything that is sampled."""
        for sampled in (self.resident, self.device_used, self.energy):
            sampled.sample()
        if self.rapl is not None:
            self.rapl.energy_mj()  # before the counters start again

    def __enter__(self) -> CostAccount:
        self._cpu = time.process_time()
        self.poller.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.poller.__exit__()
        self.process_seconds = time.process_time() - self._cpu

    def report(self, frames: int) -> dict[str, Any]:
        """The account of a finished case that generated ``frames`` frames; None is n/a."""
        seconds = self.watch.seconds
        allocator = self.allocator.gib() if self.allocator else {"allocated": None, "reserved": None}
        return {
            "seconds": {"loop": loop_seconds(seconds), "total": sum(seconds.values())},
            "wall_seconds": dict(self.watch.wall),
            "host_bound": self.watch.host_bound,
            "process_cpu_seconds": self.process_seconds,
            "threads": torch.get_num_threads(),
            "memory_gib": {**allocator, "device": self.device_used.gib(), "resident": self.resident.gib()},
            "energy": self.energy.report(seconds, frames),
            "cpu_energy": self.cpu_energy.report(seconds, frames),
        }


def peak(memory_gib: Mapping[str, Mapping[str, float | None] | None], kind: str) -> float | None:
    """The largest value over stages of one kind of memory; None where none was read."""
    known = [value for value in (memory_gib.get(kind) or {}).values() if value is not None]
    return max(known, default=None)
