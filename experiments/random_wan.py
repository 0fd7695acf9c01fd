"""Wan of any size with random weights, made on the device from its configuration, for time and memory alone.

There is no autoencoder and no text encoder: clips and prompts become noise of the right shapes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fastvmt.backbones.layout import BlockShape, Layout
from fastvmt.backbones.shortcuts import Cache, Shortcuts
from fastvmt.backbones.wan import WanBackbone
from fastvmt.cache import content_key
from fastvmt.schedule import seeded_noise
from fastvmt.settings import Memory
from fastvmt.types import PassCounter, TransferCase, Video

CHANNELS = 16
QUIET = 1e-2
"""Of the output's weights: velocities near zero, so that no latents leave the schedule."""


@dataclass(frozen=True)
class Wan:
    """A size of model and clip."""

    name: str
    blocks: int
    heads: int
    head: int
    ffn: int
    frames: int
    height: int
    width: int
    text_tokens: int = 512
    text_width: int = 4096

    @property
    def layout(self) -> Layout:
        return Layout(
            name=f"random {self.name}",
            frames=self.frames,
            height=self.height,
            width=self.width,
            depth=self.blocks,
            temporal_factor=4,
            spatial_factor=8,
            channels=CHANNELS,
            patch=(1, 2, 2),
            heads=self.heads,
            block=BlockShape(self.heads * self.head, self.ffn, self.text_tokens),
        )


SIZES = {
    size.name: size
    for size in (
        Wan("tiny", 3, 2, 24, 64, 9, 64, 64, 16, 32),
        Wan("mid", 8, 8, 64, 2048, 17, 160, 256, 64, 512),
        Wan("1.3B", 30, 12, 128, 8960, 81, 480, 832),
        Wan("14B", 40, 40, 128, 13824, 81, 480, 832),
    )
}


class RandomWan(WanBackbone):
    """As the loaded one, but for what it was made from."""

    def __init__(self, size: Wan, device: torch.device, dtype: torch.dtype, memory: Memory = Memory.fast) -> None:
        self.size = size
        self.layout = size.layout
        self.name = self.layout.name
        self.fps = 16.0
        self.device = device
        self.dtype = dtype
        self.passes = PassCounter()
        self.shortcuts = Shortcuts(Cache(), compiled=False)
        with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]), device:
            torch.manual_seed(0)
            transformer = self._made()
        transformer.proj_out.weight.data.mul_(QUIET)
        modules = enumerate(transformer.blocks)
        blocks = [self.block_type(module, f"{self.stack}.{i}") for i, module in modules]
        self.experts = [(transformer, blocks)]
        self.transformer = transformer
        self.blocks = blocks
        self.remember(memory)

    def _made(self) -> Any:
        size = self.size
        default = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)  # 14B in float32 first would not fit beside itself
        try:
            transformer = self.parts["transformer"](
                num_attention_heads=size.heads,
                attention_head_dim=size.head,
                text_dim=size.text_width,
                ffn_dim=size.ffn,
                num_layers=size.blocks,
            )
        finally:
            torch.set_default_dtype(default)
        return transformer.to(self.device).eval().requires_grad_(False)

    def resized(self, frames: int, height: int, width: int) -> None:
        """Be for clips of another size."""
        self.size = replace(self.size, frames=frames, height=height, width=width)
        self.layout = self.size.layout

    @property
    def fingerprint(self) -> str:
        return content_key(random=str(self.size))

    @property
    def vocabulary(self) -> None:
        return None

    def unknown_words(self, prompt: str) -> list[str]:
        return []

    def embed(self, prompt: str) -> Tensor:
        shape = (1, self.size.text_tokens, self.size.text_width)
        return seeded_noise(shape, len(prompt), self.device).to(self.dtype)

    def encode(self, video: Video) -> Tensor:
        return seeded_noise(self.layout.latent_shape, 1, self.device)

    def decode(self, latents_BCFHW: Tensor) -> Tensor:
        return torch.zeros(2, 8, 8, 3)

    def case(self) -> TransferCase:
        """A case whose clip is not looked at."""
        frames = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
        return TransferCase("random", Video(frames, self.fps), "a dog on grass")
