"""An adapter: parameters beside a transformer, and the changes to its blocks through which they act."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from fastvmt.backbones.block import Block


class Adapter(ABC):
    """Named float32 parameters, kept outside the transformer: undoing the changes to its blocks removes all."""

    def __init__(self, parameters: Mapping[str, Tensor], device: torch.device) -> None:
        self.parameters = {
            name: nn.Parameter(value.detach().to(device, torch.float32, copy=True))
            for name, value in parameters.items()
        }

    @abstractmethod
    def changes(self, index: int, block: Block) -> Iterator[Callable[[], object]]:
        """Put the parameters of block ``index`` to work, one change at a time; yields what undoes it."""

    @contextmanager
    def installed(self, blocks: Sequence[Block]) -> Iterator[None]:
        """Within the context every forward of ``blocks`` includes the adapter; afterwards nothing of it is left."""
        with ExitStack() as changed:
            for index, block in enumerate(blocks):
                for undo in self.changes(index, block):
                    changed.callback(undo)  # one by one: a later change may raise
            yield

    def tensors(self) -> dict[str, Tensor]:
        """The parameters as plain tensors, for storage."""
        return {name: value.detach().clone() for name, value in self.parameters.items()}
