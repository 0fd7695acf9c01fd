"""What autograd keeps of a block for the backward pass: all, the costly products, or the block's input alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from fastvmt.backbones.block import Block
from fastvmt.settings import Memory

PRODUCTS = (torch.ops.aten.addmm.default, torch.ops.aten.mm.default)
"""Linear layers, as autograd sees them."""

Run = Callable[..., Any]
"""A block and its arguments to what the block gives."""


def is_costly(operator: Any, args: Sequence[Any], cheap: Collection[int]) -> bool:
    """Whether an operator's result is worth its memory: fused attention, and linear layers whose weights do not lie
    at one of the ``cheap`` addresses."""
    name = operator.name()
    if "attention" in name or "attn" in name:
        return True
    return operator in PRODUCTS and args[-1].data_ptr() not in cheap


def selective(blocks: Sequence[Block]) -> Run:
    """Keep attention's and the linear layers' results; norms, modulation, rotation, GELU and ``cheap_layers`` again."""
    layers = [block.module.get_submodule(layer) for block in blocks for layer in block.cheap_layers]

    def run(*block_and_arguments: Any) -> Any:
        cheap = frozenset(layer.get_parameter("weight").data_ptr() for layer in layers)  # experts change their device

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
