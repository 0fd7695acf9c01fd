"""Low-rank adapters of linear layers (LoRA, arXiv 2106.09685), as two sets that act apart or together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear
from torch.utils.hooks import RemovableHandle

from fastvmt.tuning.adapter import Adapter

ATTENTION = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0")
FEED_FORWARD = ("ffn.net.0.proj", "ffn.net.2")
"""Linear layers of a Wan block, by their names in diffusers."""
DOWN, UP = ".lora_A.weight", ".lora_B.weight"


def prefix(index: int) -> str:
    """Start of the names of block ``index``: with it, diffusers' ``load_lora_weights`` reads the artefact too."""
    return f"transformer.blocks.{index}."


class LoraSet(Adapter):
    """y + dropout(up(down(x))): scale 1, dropout on the low-rank output.

    ``drop`` is the probability of the dropout; it draws from torch's global generator.
    """

    def __init__(self, parameters: Mapping[str, Tensor], device: torch.device, drop: float = 0.0) -> None:
        super().__init__(parameters, device)
        self.drop = drop

    @classmethod
    def initial(
        cls, blocks: nn.ModuleList, targets: Sequence[str], rank: int, seed: int, device: torch.device, drop: float
    ) -> LoraSet:
        """down ~ N(0, (1 / rank)^2), up = 0: changes nothing."""
        generator, parameters = torch.Generator().manual_seed(seed), {}
        for index, block in enumerate(blocks):
            for target in targets:
                layer, name = block.get_submodule(target), prefix(index) + target
                parameters[name + DOWN] = torch.randn(rank, layer.in_features, generator=generator) / rank
                parameters[name + UP] = torch.zeros(layer.out_features, rank)
        return cls(parameters, device, drop)

    def adding(self, down: Tensor, up: Tensor) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
        """A forward hook of one linear layer."""

        def hook(module: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
            update = linear(linear(args[0].to(down.dtype), down), up)
            return output + dropout(update, self.drop, training=self.drop > 0).to(output.dtype)

        return hook

    def hooks(self, index: int, block: nn.Module) -> Iterator[RemovableHandle]:
        for name, down in self.parameters.items():
            if name.startswith(prefix(index)) and name.endswith(DOWN):
                target = name.removeprefix(prefix(index)).removesuffix(DOWN)
                up = self.parameters[name.removesuffix(DOWN) + UP]
                yield block.get_submodule(target).register_forward_hook(self.adding(down, up))
