"""Weights of blocks that wait in the CPU's memory and come to the device while their layer computes.

diffusers' group offload and accelerate's hooks do this for models that run whole. Here a forward may stop early and
call layers without their block: diffusers fetches ahead in an order that it has recorded, or else copies weights back
after every use, and what checkpointing keeps of a frozen weight changes its device with it; accelerate empties the
allocator's cache at every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fastvmt.backbones.block import Block


class Waiting:
    """The parameters of one layer: on the device during its forward, outside of it without any content there.

    What autograd keeps of a forward keeps the weights too, until the backward pass is through: only where blocks are
    computed again (``memory=balanced`` and ``low``) that is one block's at a time.
    """

    def __init__(self, layer: nn.Module, device: torch.device) -> None:
        host = {name: parameter.data.to("cpu") for name, parameter in layer.named_parameters(recurse=False)}
        pinned = device.type == "cuda"
        self.host = {name: weights.pin_memory() if pinned else weights for name, weights in host.items()}
        self.away = {name: constant(weights.new_empty(0, device=device)) for name, weights in host.items()}
        self.layer = layer
        self.device = device
        self.release()
        layer.register_forward_pre_hook(self.fetch)
        layer.register_forward_hook(self.release, always_call=True)

    def fetch(self, *_: Any) -> None:
        """Copy to the device; the copy is in the order of what the device computes."""
        for name, weights in self.host.items():
            setattr(self.layer, name, constant(weights.to(self.device, non_blocking=True)))

    def release(self, *_: Any) -> None:
        """Let go of the copy; the weights themselves never change.

        The parameter is another object each time: autograd may keep it as it is, not what it holds.
        """
        for name, empty in self.away.items():
            setattr(self.layer, name, empty)


def constant(weights: Tensor) -> nn.Parameter:
    """A frozen parameter."""
    return nn.Parameter(weights, requires_grad=False)


def offload(blocks: Sequence[Block], device: torch.device) -> None:
    """Let the layers of blocks wait on the CPU for good; a block's own table of modulation, which readings use, stays.

    Between forwards their parameters are empty: whoever reads them outside of their layer fails.
    """
    for block in blocks:
        for layer in block.module.modules():
            if layer is not block.module and next(layer.parameters(recurse=False), None) is not None:
                Waiting(layer, device)
