"""The main path: a flow-matching schedule, classifier-free guidance, Euler steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fastvmt.backbones.base import Backbone

AtStep = Callable[[int, Tensor, float], Tensor]
"""(step, latents, sigma) -> tensor: a method's part in a denoising step."""


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
