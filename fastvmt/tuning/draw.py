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


def draw(seed: int, iteration: int, shift: float) -> Draw:
    """Choices of ``iteration``: sigma = m s / (1 + (m - 1) s) with s ~ U(0, 1) and shift m."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + iteration)
    s, coin, frame, anchor = torch.rand(4, generator=generator).tolist()
    noise_seed = int(torch.randint(2**48, (), generator=generator))
    return Draw(iteration, shift * s / (1 + (shift - 1) * s), coin, frame, anchor, noise_seed)


def choose(fraction: float, count: int) -> int:
    """One of 0 .. count - 1 from a uniform ``fraction`` in [0, 1)."""
    return min(int(fraction * count), count - 1)
