"""Everything that one case costs, measured around the same stages.

Stages of a case, in the names of the records: ``encode`` (the reference through the autoencoder; a prompt through the
text encoder only where it was not embedded before, with the run's others), ``tune`` (methods that train on the
reference), ``reference`` (forwards that read the reference's motion), ``guide`` (the inner optimisation), ``denoise``
(the sampler's steps without those), ``decode``. ``total`` is their sum; ``loop_with_reference``, of reference, guide
and denoise, is what the publication times. Outside of both: ``load`` (weights, and the embeddings of all prompts),
``metrics``, ``save``, and ``reference_kept``, what readings that the cache had took when they were made.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from fastvmt.cost.contention import device_contended, open_contention
from fastvmt.cost.cost import WITH_REFERENCE, Cost, loop_with_reference
from fastvmt.cost.energy import EnergyMeter
from fastvmt.cost.memory import AllocatorPeak, SampledPeak, resident_bytes
from fastvmt.cost.nvml import Nvml
from fastvmt.cost.poller import Poller
from fastvmt.cost.rapl import open_rapl
from fastvmt.stopwatch import Meter, Stopwatch

INTERVAL = 0.05
"""Seconds between samples of power and memory."""


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
        self.contention = open_contention()
        meters: list[Meter] = [self.contention, self.resident, self.device_used, self.energy, self.cpu_energy]
        self.watch = Stopwatch(device, [*meters, self.allocator] if self.allocator else meters)
        self.poller = Poller(self.sample, INTERVAL)
        self.process_seconds = 0.0
        self.nvml = nvml
        self.processes: int | None = None
        """The most that computed on the GPU at a time; None where nobody counts them."""

    def sample(self) -> None:
        """One sample of everything that is sampled."""
        for sampled in (self.resident, self.device_used, self.energy):
            sampled.sample()
        if self.rapl is not None:
            self.rapl.energy_mj()  # before the counters start again
        if self.nvml is not None and (found := self.nvml.processes()) is not None:
            self.processes = max(found, self.processes or 0)

    def __enter__(self) -> CostAccount:
        self._cpu = time.process_time()
        self.poller.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.poller.__exit__()
        self.process_seconds = time.process_time() - self._cpu

    def contended(self, threads: int) -> bool:
        """Whether others wanted the machine too: the CPU's cores, or the GPU."""
        busy = self.contention.contended(threads)
        on_gpu = self.watch.device.type == "cuda"
        return device_contended(self.processes, busy, self.watch.host_bound) if on_gpu else busy

    def report(self, frames: int, metrics: float, flops: Mapping[str, float] | None = None) -> Cost:
        """Give the account of a finished case.

        ``frames`` were generated, scoring them took ``metrics`` seconds, ``flops`` are the transformer's.
        """
        seconds = self.watch.seconds
        memory: dict[str, dict[str, float | None] | None] = {"allocated": None, "reserved": None}
        if self.allocator:
            memory |= self.allocator.gib()
        threads = torch.get_num_threads()
        return Cost(
            cpu_seconds=dict(self.contention.seconds),
            others_cpu_seconds=self.contention.others,
            contended=self.contended(threads),
            seconds={
                WITH_REFERENCE: loop_with_reference(seconds),
                "total": sum(seconds.values()),
                "metrics": metrics,
            },
            wall_seconds=dict(self.watch.wall),
            host_bound=self.watch.host_bound,
            process_cpu_seconds=self.process_seconds,
            threads=threads,
            memory_gib=memory | {"device": self.device_used.gib(), "resident": self.resident.gib()},
            energy=self.energy.report(seconds, frames),
            cpu_energy=self.cpu_energy.report(seconds, frames),
            transformer_flops=None if flops is None else dict(flops),
        )
