"""The main path: a flow-matching schedule, classifier-free guidance, Euler steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fastvmt.backbones.base import Backbone

AtStep = Callable[[int, Tensor, float], Tensor]
"""(step, latents, sigma) -> tensor: a method's part in a denoising step."""


def sigma_schedule(steps: int, shift: float, strength: float = 1.0) -> list[float]:
    """``steps + 1`` noise levels from the start to 0: s = strength (1 - k / n), shifted by m s / (1 + (m - 1) s)."""
    base = [strength * (1 - k / steps) for k in range(steps)]
    return [shift * s / (1 + (shift - 1) * s) for s in base] + [0.0]


def add_noise(latents: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """x_sigma = (1 - sigma) x_0 + sigma noise."""
    return (1 - sigma) * latents + sigma * noise


def seeded_noise(shape: tuple[int, ...], seed: int, device: torch.device) -> Tensor:
    """Standard normal float32, drawn on the CPU so that every device sees the same."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)


def guided_velocity(
    backbone: Backbone, latents: Tensor, sigma: float, text: Tensor, negative: Tensor, cfg_scale: float
) -> Tensor:
    """v = v_neg + scale (v_pos - v_neg); one pass only when the scale is 1."""
    positive = backbone.velocity(latents, sigma, text)
    if cfg_scale == 1:
        return positive
    return torch.lerp(backbone.velocity(latents, sigma, negative), positive, cfg_scale)


@torch.no_grad()
def denoise(
    latents: Tensor,
    sigmas: list[float],
    velocity: AtStep,
    before_step: AtStep | None = None,
    after_step: Callable[[int], None] | None = None,
) -> Tensor:
    """Euler from ``sigmas[0]`` to ``sigmas[-1]`` along ``velocity``; latents stay float32 throughout.

    ``before_step`` may replace the latents before the velocity is taken.
    """
    x = latents.float()
    for step, (sigma, following) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        if before_step is not None:
            x = before_step(step, x, sigma)
        x = x + (following - sigma) * velocity(step, x, sigma)
        if after_step is not None:
            after_step(step)
    if not torch.isfinite(x).all():
        raise FloatingPointError(
            "the latents are not finite after denoising; lower guidance.lr or sampler.cfg_scale, "
            "or use backbone.dtype=float32"
        )
    return x
