"""What a method needs from a video diffusion transformer."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.types import PassCounter, Video


class Backbone(Protocol):
    """A text-to-video flow-matching model: x_sigma = (1 - sigma) x_0 + sigma noise, v = noise - x_0.

    Latents are (1, C, F, H', W') float32, normalised as the transformer sees them.
    """

    layout: Layout
    """Sizes of clips, latents and token grid."""
    name: str
    fps: float
    device: torch.device
    passes: PassCounter
    """Counts every transformer block that runs; the caller resets it."""

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, for caches and records."""

    @property
    def vocabulary(self) -> dict[str, list[str]] | None:
        """Objects and backgrounds that a small model knows, or None where the text encoder knows words at large."""

    def encode(self, video: Video) -> Tensor:
        """Latents of a clip, or of a single frame as an image (the posterior's mean)."""

    def decode(self, latents_BCFHW: Tensor) -> Tensor:
        """Frames (T, H, W, 3) float32 in [0, 1] of latents."""

    def embed(self, prompt: str) -> Tensor:
        """Text embedding (1, tokens, C); the empty prompt is legal."""

    def unknown_words(self, prompt: str) -> list[str]:
        """Words of the prompt that the text encoder has no token for."""

    def velocity(self, latents_BCFHW: Tensor, sigma: float, text: Tensor) -> Tensor:
        """The full forward: v at noise level ``sigma`` in [0, 1]."""

    def query_key(
        self, latents_BCFHW: Tensor, sigma: float, text: Tensor, block: int, rope: bool
    ) -> tuple[Tensor, Tensor]:
        """Self-attention queries and keys (F, S, N, D) of ``block``; later blocks do not run."""

    def tapped_velocity(
        self, latents_BCFHW: Tensor, sigma: float, text: Tensor, block: int, rope: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The full forward and, from the same pass, queries and keys of ``block`` as in :meth:`query_key`.

        Only the queries and keys have a gradient: from ``block`` on the pass is a constant.
        """

    def hidden(self, latents_BCFHW: Tensor, sigma: float, text: Tensor, block: int) -> Tensor:
        """The residual stream (F, S, E) after ``block``; later blocks do not run."""

    def keys_and_values_of(
        self, latents_BCFHW: Tensor, sigma: float, text: Tensor, block: int = 0
    ) -> AbstractContextManager[None]:
        """Within the context, ``block`` attends to the keys and values of these latents, as constants."""

    def rotation(self) -> Tensor:
        """The rotary embedding (4, F S, D / 2) float32: cosines and sines of the queries, then of the keys."""

    def rotated_by(self, tables_4SD: Tensor) -> AbstractContextManager[None]:
        """Within the context, every block rotates queries and keys by these tables, differentiable."""
