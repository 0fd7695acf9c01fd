"""The meters of a device, opened once for all transfers on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from fastvmt.cost.account import CostAccount
from fastvmt.cost.nvml import Nvml, device_uuid, installed_library, open_nvml


@dataclass(frozen=True)
class Meters:
    """What can be read of a device, and its state before the first transfer."""

    device: torch.device
    nvml: Nvml | None
    no_energy: str
    """Why the GPU's energy cannot be read; empty when it can."""
    gpu_at_start: dict[str, Any] | None

    @property
    def idle_power_w(self) -> float | None:
        """Watts with the weights loaded, before the first case; no energy has it subtracted."""
        return None if self.gpu_at_start is None else self.gpu_at_start["power_w"]

    def account(self) -> CostAccount:
        """Open the account of one case."""
        return CostAccount(self.device, self.nvml, self.no_energy)


def open_meters(device: torch.device) -> Meters:
    """Open the meters of a device whose weights are loaded."""
    nvml, no_energy = open_nvml(device_uuid(device), installed_library())
    return Meters(device, nvml, no_energy, None if nvml is None else nvml.state())
