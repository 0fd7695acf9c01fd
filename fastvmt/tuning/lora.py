"""Low-rank adapters of linear layers (LoRA, arXiv 2106.09685) by peft, as sets that act apart or together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

import fastvmt.torchvision_ops  # noqa: F401  peft imports transformers, which imports torchvision
from fastvmt.backbones.block import Block
from fastvmt.tuning.adapter import Adapter

PREFIX = "transformer."
DOWN = ".lora_A.weight"
UP = ".lora_B.weight"
"""Around a layer's path: with these names diffusers' ``load_lora_weights`` reads the artefact too."""
SET = "default"
Place = tuple[int, str]
"""Index of a block, and the path in it of a linear layer."""


def peft_layers(blocks: Sequence[Block], places: Sequence[Place], rank: int, drop: float) -> dict[Place, Any]:
    """peft's layers around the linear layers at ``places``, still without weights; the blocks stay as they were."""
    from peft import LoraConfig, inject_adapter_in_model  # takes seconds to import

    stack = nn.ModuleList(block.module for block in blocks)
    paths = {place: f"{place[0]}.{place[1]}" for place in places}
    linears = {path: stack.get_submodule(path) for path in paths.values()}
    config = LoraConfig(r=rank, lora_alpha=rank, lora_dropout=drop, target_modules=list(linears))
    try:
        inject_adapter_in_model(config, stack, SET, low_cpu_mem_usage=True)
        return {place: stack.get_submodule(path) for place, path in paths.items()}
    finally:
        for path, linear in linears.items():
            stack.set_submodule(path, linear)


class LoraSet(Adapter):
    """y + up(down(dropout(x))): scale 1; ``drop`` is the dropout's probability, drawn from torch's global generator."""

    def __init__(
        self, parameters: Mapping[str, Tensor], blocks: Sequence[Block], device: torch.device, drop: float = 0.0
    ) -> None:
        super().__init__(parameters, device)
        rank = len(next(value for name, value in self.parameters.items() if name.endswith(DOWN)))
        names = {
            (index, name.removeprefix(start).removesuffix(DOWN)): name.removesuffix(DOWN)
            for index, start in enumerate(f"{PREFIX}{block.path}." for block in blocks)
            for name in self.parameters
            if name.startswith(start) and name.endswith(DOWN)
        }
        self.layers = peft_layers(blocks, list(names), rank, drop)
        for place, name in names.items():
            self.layers[place].lora_A[SET].weight = self.parameters[name + DOWN]
            self.layers[place].lora_B[SET].weight = self.parameters[name + UP]

    @classmethod
    def initial(
        cls, blocks: Sequence[Block], feed_forward: bool, rank: int, seed: int, device: torch.device, drop: float
    ) -> LoraSet:
        """Self-attention's layers, and the feed-forward's if asked: down ~ N(0, (1 / rank)^2), up = 0, no change."""
        generator = torch.Generator().manual_seed(seed)
        parameters = {}
        for block in blocks:
            for target in block.attention_layers + (block.feed_forward_layers if feed_forward else ()):
                layer = cast(nn.Linear, block.module.get_submodule(target))
                name = f"{PREFIX}{block.path}.{target}"
                parameters[name + DOWN] = torch.randn(rank, layer.in_features, generator=generator) / rank
                parameters[name + UP] = torch.zeros(layer.out_features, rank)
        return cls(parameters, blocks, device, drop)

    def changes(self, index: int, block: Block) -> Iterator[Callable[[], object]]:
        for (place, target), layer in self.layers.items():
            if place == index:
                layer.base_layer = block.module.get_submodule(target)  # of another set, where two act together
                block.module.set_submodule(target, layer)
                yield partial(block.module.set_submodule, target, layer.base_layer)
