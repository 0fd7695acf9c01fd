"""Noise levels of flow matching, and the noise itself."""

from __future__ import annotations

import torch
from torch import Tensor


def shifted(level: float, shift: float) -> float:
    """m s / (1 + (m - 1) s)."""
    return shift * level / (1 + (shift - 1) * level)


def sigma_schedule(steps: int, shift: float, strength: float = 1.0) -> list[float]:
    """``steps + 1`` noise levels from the start to 0: s = strength (1 - k / n), shifted by m s / (1 + (m - 1) s)."""
    return [shifted(strength * (1 - k / steps), shift) for k in range(steps)] + [0.0]


def add_noise(latents: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """x_sigma = (1 - sigma) x_0 + sigma noise."""
    return (1 - sigma) * latents + sigma * noise


def seeded_noise(shape: tuple[int, ...], seed: int, device: torch.device) -> Tensor:
    """Standard normal float32, drawn on the CPU so that every device sees the same."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)
