"""A clock, an NVML library and an event that show what they are told."""

from __future__ import annotations

from types import SimpleNamespace

import torch

CPU = torch.device("cpu")


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeNvml:
    """The functions of pynvml that are used; an attribute that is None is unsupported."""

    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0

    class NVMLError(Exception):
        pass

    def __init__(
        self,
        energy: int | None = 0,
        power: int | None = None,
        used: int | None = None,
        mig=None,
        running: list[str] | None = None,
    ) -> None:
        self.energy, self.power, self.used, self.mig, self.running = energy, power, used, mig, running

    def _given(self, value):
        if value is None:
            raise self.NVMLError("Not Supported")
        return value

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return self._given(uuid if uuid == "GPU-1" else None)

    def nvmlDeviceGetMigMode(self, handle: str):
        return self._given(self.mig)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        return self._given(self.energy)

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        return self._given(self.power)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[str]:
        return self._given(self.running)

    def nvmlDeviceGetMemoryInfo(self, handle: str):
        return SimpleNamespace(used=self._given(self.used))


class FakeEvent:
    """An event that knows the device's time when it was recorded."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.at = clock, 0.0

    def record(self, stream=None) -> None:
        self.at = self.clock()

    def elapsed_time(self, end_event) -> float:
        return 1000 * (end_event.at - self.at)
