"""Adapters on a small model, what it computes with them, and what they could leave in it."""

from __future__ import annotations

import torch
from torch import Tensor

from fastvmt.backbones.base import Backbone
from fastvmt.schedule import seeded_noise
from fastvmt.tuning.adapter import Adapter
from fastvmt.tuning.lora import LoraSet
from fastvmt.tuning.motion_embedding import MotionEmbeddings
from fastvmt.tuning.temporal_conv import Initial, TemporalConvolutions

CPU = torch.device("cpu")


def embeddings(backbone: Backbone, pool: int = 1) -> MotionEmbeddings:
    return MotionEmbeddings.zeros([1, 2], backbone.layout.grid, backbone.blocks[0].width, pool, CPU)


def convolutions(backbone: Backbone, initial: Initial = Initial.normal) -> TemporalConvolutions:
    layout = backbone.layout
    width = backbone.blocks[0].width
    return TemporalConvolutions.initial(layout.depth, layout.grid[0], width, 16, initial, 0, CPU)


def lora(backbone: Backbone, feed_forward: bool = False, drop: float = 0.0) -> LoraSet:
    return LoraSet.initial(backbone.blocks, feed_forward, 4, 0, CPU, drop)


def randomised(adapter: Adapter, scale: float = 0.3) -> Adapter:
    """The adapter with every parameter normal, from a fixed seed."""
    generator = torch.Generator().manual_seed(7)
    for value in adapter.parameters.values():
        value.data = scale * torch.randn(value.shape, generator=generator)
    return adapter


def velocity(backbone: Backbone) -> Tensor:
    with torch.no_grad():
        x = seeded_noise(backbone.layout.latent_shape, 1, backbone.device)
        return backbone.velocity(x, 0.7, backbone.embed("a dog on grass"))
