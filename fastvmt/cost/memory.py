"""Peak memory per stage, in GiB (2^30 bytes): the allocator's, the device's, the process'."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch

MIB, GIB = 2**20, 2**30


class SampledPeak:
    """Per stage the largest of the values that :meth:`sample` and the borders saw.

    ``read`` returns bytes, or None where the quantity cannot be read; then every stage is None.
    """

    def __init__(self, read: Callable[[], int | None]) -> None:
        self.read = read
        self.peaks: dict[str, int | None] = {}
        self._lock = threading.Lock()
        self._peak: int | None = None

    def sample(self) -> int | None:
        """Read once; returns what was read."""
        value = self.read()
        if value is not None:
            with self._lock:
                self._peak = value if self._peak is None else max(self._peak, value)
        return value

    def border(self, stage: str | None) -> None:
        """See :class:`fastvmt.stopwatch.Meter`."""
        value = self.sample()
        with self._lock:
            peak, self._peak = self._peak, value
        if stage is not None:
            known = [p for p in (self.peaks.get(stage), peak) if p is not None]
            self.peaks[stage] = max(known, default=None)

    def gib(self) -> dict[str, float | None]:
        """Peak per stage."""
        return {stage: None if peak is None else peak / GIB for stage, peak in self.peaks.items()}


class AllocatorPeak:
    """Per stage the CUDA allocator's own peak: bytes in tensors, and bytes reserved from the driver."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.allocated: dict[str, int] = {}
        self.reserved: dict[str, int] = {}

    def border(self, stage: str | None) -> None:
        """See :class:`fastvmt.stopwatch.Meter`."""
        if stage is not None:
            allocated = torch.cuda.max_memory_allocated(self.device)
            reserved = torch.cuda.max_memory_reserved(self.device)
            self.allocated[stage] = max(self.allocated.get(stage, 0), allocated)
            self.reserved[stage] = max(self.reserved.get(stage, 0), reserved)
        torch.cuda.reset_peak_memory_stats(self.device)

    def gib(self) -> dict[str, dict[str, float | None] | None]:
        """Peak per stage, ``allocated`` and ``reserved``."""
        tables = {"allocated": self.allocated, "reserved": self.reserved}
        return {name: {stage: peak / GIB for stage, peak in table.items()} for name, table in tables.items()}


def resident_bytes() -> Callable[[], int]:
    """A reader of this process' resident memory."""
    import psutil

    process = psutil.Process()
    return lambda: int(process.memory_info().rss)


def device_bytes(device: torch.device) -> int:
    """All memory of a device; of the CPU, the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    import psutil

    return int(psutil.virtual_memory().total)
