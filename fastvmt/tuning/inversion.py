"""A start that remembers the reference's layout: its inverted noise blended with fresh noise.

Equation numbers of RF-Inversion (arXiv 2410.10792) are those of v1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fastvmt.backbones.base import Backbone
from fastvmt.settings import LARGEST_COUNT, check_range


@torch.no_grad()
def inverted_path(backbone: Backbone, latents: Tensor, sigmas: list[float], text: Tensor) -> Iterator[Tensor]:
    """At each of ``sigmas`` (falling to 0), upwards, the latents from which Euler steps would about lead back."""
    x = latents
    rising = sigmas[::-1]
    yield x
    for sigma, following in zip(rising[:-1], rising[1:], strict=True):
        # RF-Inversion, Eq. 6, by Euler steps: the flow backwards, without the controller of Eq. 8
        x = x + (following - sigma) * backbone.velocity(x, sigma, text)
        yield x


@dataclass(frozen=True)
class Inversion:
    """Start noise sqrt(p) inverted + sqrt(1 - p) fresh; p = 0 inverts nothing."""

    share: float = 0.0
    """p."""
    steps: int = 50
    """Reverse Euler steps."""

    def __post_init__(self) -> None:
        check_range("method.inversion.share", self.share, 0, 1)
        check_range("method.inversion.steps", self.steps, 1, LARGEST_COUNT)

    def noise(self, backbone: Backbone, latents: Tensor, shift: float, text: Tensor) -> Tensor:
        """The reference's inverted noise."""
        for x in inverted_path(backbone, latents, backbone.sigmas(self.steps, shift), text):
            noise = x  # the last; the others are not kept
        return noise

    def blend(self, inverted: Tensor, fresh: Tensor) -> Tensor:
        """Of unit variance where both are, and independent."""
        return math.sqrt(self.share) * inverted + math.sqrt(1 - self.share) * fresh
