"""What autograd keeps of a block for the backward pass: all, the costly products, or the block's input alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from fastvmt.backbones.block import Block
from fastvmt.settings import Memory

PRODUCTS = (torch.ops.aten.addmm.default, torch.ops.aten.mm.default)
"""Linear layers, as autograd sees them."""

Run = Callable[..., Any]
"""A block and its arguments to what the block gives."""


def is_costly(operator: Any, args: Sequence[Any], cheap: Sequence[nn.Module]) -> bool:
    """Whether an operator's result is worth its memory: fused attention, and linear layers that are not ``cheap``.

    They are known by where their weights lie at that moment: experts change their device, offloaded layers their place.
    """
    name = operator.name()
    if "attention" in name or "attn" in name:
        return True
    weights = place(args[-1]) if operator in PRODUCTS else None
    return weights is not None and all(place(layer.get_parameter("weight")) != weights for layer in cheap)


def place(tensor: Tensor) -> tuple[int, int]:
    """Tell where a tensor's first value lies, also of one without content, which has no address."""
    return tensor.untyped_storage()._cdata, int(tensor.storage_offset())


def selective(blocks: Sequence[Block]) -> Run:
    """Keep attention's and the linear layers' results; norms, modulation, rotation, GELU and ``cheap_layers`` again."""
    layers = {block.module: [block.module.get_submodule(path) for path in block.cheap_layers] for block in blocks}

    def run(*block_and_arguments: Any) -> Any:
        cheap = layers.get(block_and_arguments[0], [])  # what stands in for a block has none

        def choose(_context: Any, operator: Any, *args: Any, **_kwargs: Any) -> CheckpointPolicy:
            costly = is_costly(operator, args, cheap)
            return CheckpointPolicy.MUST_SAVE if costly else CheckpointPolicy.PREFER_RECOMPUTE

        contexts = partial(create_selective_checkpoint_contexts, choose)
        return checkpoint(*block_and_arguments, use_reentrant=False, context_fn=contexts)

    return run


def keep(transformer: Any, blocks: Sequence[Block], memory: Memory) -> None:
    """Let the transformer's blocks keep for gradients what a preset says. Values and gradients are the same in all."""
    if memory is Memory.fast:
        transformer.disable_gradient_checkpointing()
    elif memory is Memory.balanced:
        transformer.enable_gradient_checkpointing(selective(blocks))
    else:
        transformer.enable_gradient_checkpointing()
