"""An adapter: parameters beside a transformer, and the changes to its blocks through which they act."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import cast

import torch
from torch import Tensor, nn

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
    return cast(nn.Linear, blocks[0].get_submodule("attn1.to_q")).in_features  # or an adapter around one


class Adapter(ABC):
    """Named float32 parameters, kept outside the transformer: undoing the changes to its blocks removes all."""

    def __init__(self, parameters: Mapping[str, Tensor], device: torch.device) -> None:
        self.parameters = {
            name: nn.Parameter(value.detach().to(device, torch.float32, copy=True))
            for name, value in parameters.items()
        }

    @abstractmethod
    def changes(self, index: int, block: nn.Module) -> Iterator[Callable[[], object]]:
        """Put the parameters of block ``index`` to work, one change at a time; yields what undoes it."""

    @contextmanager
    def installed(self, blocks: nn.ModuleList) -> Iterator[None]:
        """Within the context every forward of ``blocks`` includes the adapter; afterwards nothing of it is left."""
        with ExitStack() as changed:
            for index, block in enumerate(blocks):
                for undo in self.changes(index, block):
                    changed.callback(undo)  # one by one: a later change may raise
            yield

    def tensors(self) -> dict[str, Tensor]:
        """The parameters as plain tensors, for storage."""
        return {name: value.detach().clone() for name, value in self.parameters.items()}
