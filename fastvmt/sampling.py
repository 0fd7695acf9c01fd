"""The main path: Euler steps along the model's velocity, from noise to a clip, under classifier-free guidance.

x = start
for sigma, sigma_next in the schedule:
    x = step(x)                      a method's step; plain sampling is
                                     euler_step(x, guided_velocity(x, sigma), sigma, sigma_next)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from fastvmt.backbones.base import Backbone

Step = Callable[[int, Tensor, float, float], Tensor]
"""Latents at ``sigma_next`` from (i, x, sigma, sigma_next): step ``i`` of the schedule."""


def guided_velocity(
    backbone: Backbone, x: Tensor, sigma: float, text: Tensor, negative: Tensor, cfg_scale: float
) -> Tensor:
    """v = v_neg + scale (v_pos - v_neg), of x's shape; one pass only when the scale is 1."""
    positive = backbone.velocity(x, sigma, text)
    if cfg_scale == 1:
        return positive
    return torch.lerp(backbone.velocity(x, sigma, negative), positive, cfg_scale)


def euler_step(x: Tensor, velocity: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """x' = x + (sigma' - sigma) v."""
    return x + (sigma_next - sigma) * velocity


@torch.no_grad()
def denoise(
    start: Tensor, sigmas: Sequence[float], step: Step, after_step: Callable[[int], None] | None = None
) -> Tensor:
    """Take ``start`` (1, C, F, H', W') from ``sigmas[0]`` to ``sigmas[-1]``; latents stay float32 throughout.

    ``after_step`` is told the number of every step that is done. Raises ``FloatingPointError`` when the latents are
    not finite at the end, saying what to lower.
    """
    x = start.float()
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x = step(i, x, sigma, sigma_next)
        if after_step is not None:
            after_step(i)
    if not torch.isfinite(x).all():
        raise FloatingPointError(
            "the latents are not finite after denoising; lower guidance.lr or sampler.cfg_scale, "
            "or use backbone.dtype=float32"
        )
    return x
