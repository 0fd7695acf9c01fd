"""An adapter: parameters beside a transformer, and the hooks through which they act while installed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fastvmt.backbones.base import Backbone


def blocks_of(backbone: Backbone) -> nn.ModuleList:
    """The transformer's blocks in order; each has Wan's self-attention as ``attn1``.

    Raises ``TypeError`` for a backbone without them.
    """
    blocks = getattr(getattr(backbone, "transformer", None), "blocks", None)
    if not isinstance(blocks, nn.ModuleList) or not all(hasattr(block, "attn1") for block in blocks):
        raise TypeError(f"{backbone.name} has no transformer.blocks with self-attention attn1: it cannot be tuned")
    return blocks


def width_of(blocks: nn.ModuleList) -> int:
    """Channels D of a token."""
    attention: nn.Module = blocks[0].attn1
    return int(attention.to_q.in_features)


class Adapter(ABC):
    """Named float32 parameters. The transformer holds none of them, so removing the hooks removes all."""

    def __init__(self, parameters: Mapping[str, Tensor], device: torch.device) -> None:
        self.parameters = {
            name: value.detach().to(device, torch.float32, copy=True).requires_grad_()
            for name, value in parameters.items()
        }

    @abstractmethod
    def hooks(self, index: int, block: nn.Module) -> Iterator[RemovableHandle]:
        """Put the parameters of block ``index`` to work, one handle at a time."""

    @contextmanager
    def installed(self, blocks: nn.ModuleList) -> Iterator[None]:
        """Within the context every forward of ``blocks`` includes the adapter; afterwards nothing of it is left."""
        handles: list[RemovableHandle] = []
        try:
            for index, block in enumerate(blocks):
                for handle in self.hooks(index, block):
                    handles.append(handle)  # one by one: a later hook may raise
            yield
        finally:
            for handle in handles:
                handle.remove()

    def tensors(self) -> dict[str, Tensor]:
        """The parameters as plain tensors, for storage."""
        return {name: value.detach().clone() for name, value in self.parameters.items()}
