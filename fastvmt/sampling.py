"""The main path: Euler steps along the model's velocity, from noise to a clip, under classifier-free guidance.

x = start
for sigma, sigma_next in the schedule:
    v = classifier_free.velocity(i, x, sigma, text)    the model's calls, in a method's step
    x = euler_step(x, v, sigma, sigma_next)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from fastvmt.backbones.base import Backbone
from fastvmt.backbones.shortcuts import Series
from fastvmt.divergence import check_velocity
from fastvmt.settings import Sampler

Step = Callable[[int, Tensor, float, float], Tensor]
"""Latents at ``sigma_next`` from (i, x, sigma, sigma_next): step ``i`` of the schedule."""


class ClassifierFree:
    """Classifier-free guidance over the steps of one denoising: v = v_neg + scale (v_pos - v_neg).

    The negative pass runs where :meth:`Sampler.negative_at` says. In the steps between, v_pos - v_neg is that of the
    last one: v = v_pos + (scale - 1) (v_pos - v_neg). Each of a model's experts has a scale of its own.
    """

    def __init__(self, backbone: Backbone, negative: Tensor, sampler: Sampler, unguided: range = range(0)) -> None:
        """``unguided`` are the last steps, in which the backbone may take its shortcuts."""
        self.backbone = backbone
        self.negative = negative
        self.sampler = sampler
        self.unguided = unguided
        self.difference: Tensor | None = None
        """v_pos - v_neg of the last negative pass, where a later step may want it."""

    def velocity(self, i: int, x: Tensor, sigma: float, text: Tensor) -> Tensor:
        """The velocity of latents (1, ...) at step ``i`` under a prompt's embedding (1, tokens, C)."""
        if not self.sampler.batched_cfg or not self.needs_negative(i):
            return self(i, x, sigma, self.passed("positive", i, x, sigma, text))
        texts = torch.cat([text, self.negative])
        positive, negative = self.passed("both", i, x.expand(2, *x.shape[1:]), sigma, texts).chunk(2)
        return self.combined(sigma, positive, negative)

    def passed(self, name: str, i: int, x: Tensor, sigma: float, text: Tensor) -> Tensor:
        """The model's velocity in a pass of step ``i``."""
        if i not in self.unguided:
            return self.backbone.velocity(x, sigma, text)
        return self.backbone.next_velocity(Series(name, i, self.unguided.stop), x, sigma, text)

    def needs_negative(self, i: int) -> bool:
        """Whether step ``i`` has a negative pass."""
        return self.sampler.cfg_scale != 1 and (self.difference is None or self.sampler.negative_at(i))

    def __call__(self, i: int, x: Tensor, sigma: float, positive: Tensor) -> Tensor:
        """The velocity of latents at step ``i`` from the one with the prompt."""
        if self.sampler.cfg_scale == 1:
            return positive
        if self.difference is not None and not self.needs_negative(i):
            return positive + (self.scale(sigma) - 1) * self.difference
        return self.combined(sigma, positive, self.passed("negative", i, x, sigma, self.negative))

    def scale(self, sigma: float) -> float:
        """The guidance scale of the expert in charge."""
        if self.sampler.cfg_scale_2 is not None and self.backbone.choose_expert(sigma) == 1:
            return self.sampler.cfg_scale_2
        return self.sampler.cfg_scale

    def combined(self, sigma: float, positive: Tensor, negative: Tensor) -> Tensor:
        """v_neg + scale (v_pos - v_neg)."""
        if self.sampler.negative_every > 1:
            self.difference = positive - negative
        return torch.lerp(negative, positive, self.scale(sigma))


def euler_step(x: Tensor, velocity: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """x' = x + (sigma' - sigma) v. Raises :class:`fastvmt.divergence.Diverged` for a velocity that is not finite."""
    check_velocity(velocity, x)
    return x + (sigma_next - sigma) * velocity


@torch.no_grad()
def denoise(
    start: Tensor,
    sigmas: Sequence[float],
    step: Step,
    after_step: Callable[[int, Tensor], None] | None = None,
    *,
    first: int = 0,
) -> Tensor:
    """Take ``start`` (1, C, F, H', W') from ``sigmas[first]`` to ``sigmas[-1]``; latents stay float32 throughout.

    ``after_step`` is told the number of every step that is done, and the latents.
    """
    x = start.float()
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas[first:]), first):
        x = step(i, x, sigma, sigma_next)
        if after_step is not None:
            after_step(i, x)
    return x
