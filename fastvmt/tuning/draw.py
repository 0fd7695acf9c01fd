"""The random choices of one tuning iteration, a function of the seed and the iteration alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Draw:
    """Everything random about an iteration, so that an interrupted tuning goes on as if nothing had happened."""

    iteration: int
    sigma: float
    """Noise level, uniform before the timestep shift."""
    coin: float
    frame: float
    anchor: float
    """Uniform in [0, 1)."""
    seed: int
    """Of the noise."""


def draw(seed: int, iteration: int, shift: float, least: float = 0.0) -> Draw:
    """Choices of ``iteration``: sigma = m s / (1 + (m - 1) s) with shift m and s uniform where sigma >= ``least``."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + iteration)
    s, coin, frame, anchor = torch.rand(4, generator=generator).tolist()
    low = least / (shift - (shift - 1) * least)
    s = low + (1 - low) * s
    noise_seed = int(torch.randint(2**48, (), generator=generator))
    return Draw(iteration, max(least, shift * s / (1 + (shift - 1) * s)), coin, frame, anchor, noise_seed)


def choose(fraction: float, count: int) -> int:
    """One of 0 .. count - 1 from a uniform ``fraction`` in [0, 1)."""
    return min(int(fraction * count), count - 1)
