"""Low-rank adapters of linear layers (LoRA, arXiv 2106.09685) by peft, as sets that act apart or together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

import fastvmt.torchvision_ops  # noqa: F401  peft imports transformers, which imports torchvision
from fastvmt.tuning.adapter import Adapter

ATTENTION = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0")
FEED_FORWARD = ("ffn.net.0.proj", "ffn.net.2")
"""Linear layers of a Wan block, by their names in diffusers."""
PREFIX, DOWN, UP = "transformer.blocks.", ".lora_A.weight", ".lora_B.weight"
"""Around a layer's path: with these names diffusers' ``load_lora_weights`` reads the artefact too."""
SET = "default"


def peft_layers(blocks: nn.ModuleList, paths: Sequence[str], rank: int, drop: float) -> dict[str, Any]:
    """peft's layers around the linear layers at ``paths``, still without weights; ``blocks`` stays as it was."""
    from peft import LoraConfig, inject_adapter_in_model  # takes seconds to import

    linears = {path: blocks.get_submodule(path) for path in paths}
    config = LoraConfig(r=rank, lora_alpha=rank, lora_dropout=drop, target_modules=list(paths))
    try:
        inject_adapter_in_model(config, blocks, SET, low_cpu_mem_usage=True)
        return {path: blocks.get_submodule(path) for path in paths}
    finally:
        for path, linear in linears.items():
            blocks.set_submodule(path, linear)
        vars(blocks).pop("peft_config", None)


class LoraSet(Adapter):
    """y + up(down(dropout(x))): scale 1; ``drop`` is the dropout's probability, drawn from torch's global generator."""

    def __init__(
        self, parameters: Mapping[str, Tensor], blocks: nn.ModuleList, device: torch.device, drop: float = 0.0
    ) -> None:
        super().__init__(parameters, device)
        downs = {name: down for name, down in self.parameters.items() if name.endswith(DOWN)}
        paths = {name: name.removeprefix(PREFIX).removesuffix(DOWN) for name in downs}
        self.layers = peft_layers(blocks, list(paths.values()), len(next(iter(downs.values()))), drop)
        for name, path in paths.items():
            self.layers[path].lora_A[SET].weight = downs[name]
            self.layers[path].lora_B[SET].weight = self.parameters[PREFIX + path + UP]

    @classmethod
    def initial(
        cls, blocks: nn.ModuleList, targets: Sequence[str], rank: int, seed: int, device: torch.device, drop: float
    ) -> LoraSet:
        """down ~ N(0, (1 / rank)^2), up = 0: changes nothing."""
        generator, parameters = torch.Generator().manual_seed(seed), {}
        for index, block in enumerate(blocks):
            for target in targets:
                layer, name = cast(nn.Linear, block.get_submodule(target)), f"{PREFIX}{index}.{target}"
                parameters[name + DOWN] = torch.randn(rank, layer.in_features, generator=generator) / rank
                parameters[name + UP] = torch.zeros(layer.out_features, rank)
        return cls(parameters, blocks, device, drop)

    def changes(self, index: int, block: nn.Module) -> Iterator[Callable[[], object]]:
        for path, layer in self.layers.items():
            number, target = path.split(".", 1)
            if int(number) == index:
                layer.base_layer = block.get_submodule(target)  # of another set, where two act together
                block.set_submodule(target, layer)
                yield partial(block.set_submodule, target, layer.base_layer)
