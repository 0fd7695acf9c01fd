"""One GPU through NVIDIA's management library: energy, power, memory, state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Nvml:
    """Readings of one GPU; each is None where the GPU or its driver does not support it.

    A MIG slice has no counters of its own: the whole GPU's would charge it with its neighbours'
    work, so energy, power and memory are None there.
    """

    def __init__(self, library: Any, handle: Any) -> None:
        self.library = library
        self.handle = handle
        mode = self._read(lambda: library.nvmlDeviceGetMigMode(handle))
        self.mig = mode is not None and mode[0] == 1

    def _read(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except self.library.NVMLError:
            return None

    def energy_mj(self) -> int | None:
        """Millijoules since the driver was loaded (Volta and later)."""
        return None if self.mig else self._read(lambda: self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle))

    def power_mw(self) -> int | None:
        """Present power, milliwatts."""
        return None if self.mig else self._read(lambda: self.library.nvmlDeviceGetPowerUsage(self.handle))

    def used_bytes(self) -> int | None:
        """Memory in use on the GPU: contexts, other libraries and other processes included."""
        memory = None if self.mig else self._read(lambda: self.library.nvmlDeviceGetMemoryInfo(self.handle))
        return None if memory is None else int(memory.used)

    def processes(self) -> int | None:
        """How many processes compute on the GPU."""
        found = self._read(lambda: self.library.nvmlDeviceGetComputeRunningProcesses(self.handle))
        return None if found is None else len(found)

    def state(self) -> dict[str, Any]:
        """What a record of a timing should say about the GPU: W, MHz, degrees Celsius."""
        library = self.library
        handle = self.handle
        limit = self._read(lambda: library.nvmlDeviceGetEnforcedPowerLimit(handle))
        power = self.power_mw()
        return {
            "name": self._read(lambda: library.nvmlDeviceGetName(handle)),
            "driver": self._read(library.nvmlSystemGetDriverVersion),
            "power_limit_w": None if limit is None else limit / 1000,
            "power_w": None if power is None else power / 1000,
            "sm_clock_mhz": self._read(lambda: library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_SM)),
            "temperature_c": self._read(lambda: library.nvmlDeviceGetTemperature(handle, library.NVML_TEMPERATURE_GPU)),
            "mig": self.mig,
            "compute_processes": self.processes(),
        }


def installed_library() -> Any:
    """``pynvml`` of the package nvidia-ml-py, or None."""
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml


def device_uuid(device: torch.device) -> str | None:
    """NVML's name of a CUDA device (ordinals may differ between the two); None for other devices."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}" if device.type == "cuda" else None


def open_nvml(uuid: str | None, library: Any) -> tuple[Nvml | None, str]:
    """The GPU with a UUID, and why its energy cannot be read (empty when it can)."""
    if uuid is None:
        return None, "not a CUDA device"
    if library is None:
        return None, "nvidia-ml-py is not installed: pip install 'fastvmt[energy]'"
    try:
        library.nvmlInit()
        gpu = Nvml(library, library.nvmlDeviceGetHandleByUUID(uuid))
    except library.NVMLError as error:
        return None, f"NVML does not know {uuid}: {error}"
    return gpu, "a MIG slice has no energy counter" if gpu.mig else ""
