"""Temporal convolutions beside self-attention: DeT's motion path (arXiv 2503.17350)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from enum import Enum

import torch
from torch import Tensor
from torch.nn.functional import conv1d, gelu

from fastvmt.backbones.block import Block
from fastvmt.tuning.adapter import Adapter

TAPS = 3


class Initial(str, Enum):
    """Weights of the first convolution; the second starts at zero."""

    normal = "normal"
    """N(0, 1), as released: hidden activations are large, learning rates tiny."""
    kaiming = "kaiming"
    """N(0, 2 / fan-in): learning rates as usual."""


def temporal_conv(tokens_BND: Tensor, conv1_CDK: Tensor, conv2_DCK: Tensor, frames: int) -> Tensor:
    """conv2(gelu(conv1(x))) along time at every position of a frame, zeros beyond the clip; (B, F * S, D)."""
    x = tokens_BND.unflatten(1, (frames, -1)).permute(0, 2, 3, 1)  # B, S, D, F
    pad = TAPS // 2
    y = conv1d(gelu(conv1d(x.flatten(0, 1), conv1_CDK, padding=pad)), conv2_DCK, padding=pad)
    return torch.unflatten(y, 0, x.shape[:2]).permute(0, 3, 1, 2).flatten(1, 2)


class TemporalConvolutions(Adapter):
    """In every block: the convolution of what enters self-attention, added to what leaves it, before the gate."""

    def __init__(self, parameters: Mapping[str, Tensor], frames: int, device: torch.device) -> None:
        super().__init__(parameters, device)
        self.frames = frames

    @classmethod
    def initial(
        cls, depth: int, frames: int, width: int, channels: int, start: Initial, seed: int, device: torch.device
    ) -> TemporalConvolutions:
        """Two bias-free convolutions D -> ``channels`` -> D per block, the second zero: changes nothing."""
        generator = torch.Generator().manual_seed(seed)
        parameters = {}
        scale = 1.0 if start is Initial.normal else math.sqrt(2 / (TAPS * width))
        for index in range(depth):
            first = scale * torch.randn(channels, width, TAPS, generator=generator)
            parameters[f"blocks.{index}.conv1"] = first
            parameters[f"blocks.{index}.conv2"] = torch.zeros(width, channels, TAPS)
        return cls(parameters, frames, device)

    def changes(self, index: int, block: Block) -> Iterator[Callable[[], object]]:
        conv1, conv2 = (self.parameters[f"blocks.{index}.conv{n}"] for n in (1, 2))
        yield block.add_beside(lambda tokens: temporal_conv(tokens.to(conv1.dtype), conv1, conv2, self.frames))
