"""Changes to the self-attention of blocks that last as long as a context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from fastvmt.backbones.block import Block, Rotary, half_tables, rotate


@contextmanager
def given_keys_and_values(block: Block, k: Tensor, v: Tensor) -> Iterator[None]:
    """Within the context the video projects to these keys, before their norm, and values (B, tokens, N D)."""
    with ExitStack() as hooks:
        for layer, given in ((block.attention.to_k, k), (block.attention.to_v, v)):

            def replace(_module: object, _args: object, output: Tensor, given: Tensor = given) -> Tensor:
                text = output.shape[1] - given.shape[1]
                return torch.cat([output[:, :text], given.expand(len(output), -1, -1)], 1)

            hooks.callback(layer.register_forward_hook(replace).remove)
        yield


class GivenRotation:
    """A self-attention processor that turns queries and keys of the video by tables of their own.

    An architecture's own has a ``__call__`` that names the arguments with which its blocks call their self-attention:
    diffusers hands over what it asks for by name.
    """

    def __init__(self, block: Block) -> None:
        self.block = block

    def attend(self, attn: Any, video: Tensor, text: Tensor | None, rotary: Rotary) -> Any:
        """What self-attention returns for video (B, tokens, E) and, where it passes through the same, text.

        The tables (4, tokens, D / 2) come along as the rotary argument: blocks that run again during the backward
        pass (gradient checkpointing) see those of their first run.
        """
        tables = half_tables(rotary)
        before = video[:, :0] if text is None else text
        count = before.shape[1]

        def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
            return torch.cat([x[:, :count], rotate(x[:, count:], cos, sin)], 1)

        seen = torch.cat([before, video], 1)
        q, k = turned(self.block.queries(seen), *tables[:2]), turned(self.block.keys(seen), *tables[2:])
        q, k, v = (each.transpose(1, 2) for each in (q, k, self.block.values(seen)))
        attended = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2).type_as(q)
        out: Tensor = attn.to_out[1](attn.to_out[0](attended))
        return out if text is None else (out[:, count:], out[:, :count])


@contextmanager
def given_rotation(blocks: Sequence[Block]) -> Iterator[None]:
    """Within the context blocks rotate by the tables (4, tokens, D / 2) that they get as their rotary embedding."""
    processors = [block.attention.processor for block in blocks]
    try:
        for block in blocks:
            block.attention.set_processor(block.rotation(block))
        yield
    finally:
        for block, processor in zip(blocks, processors, strict=True):
            block.attention.set_processor(processor)
