"""Changes to the self-attention of blocks that last as long as a context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from fastvmt.backbones.block import Block, half_tables, rotate


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
    """A self-attention processor that turns queries and keys of the video by tables of their own."""

    def __init__(self, block: Block) -> None:
        self.block = block

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: None = None,
        rotary_emb: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
    ) -> Any:
        """The arguments, by diffusers' names, with which blocks call their self-attention.

        The tables (4, tokens, D / 2) come along as an argument: blocks that run again during the backward pass
        (gradient checkpointing) see those of their first run.
        """
        rotary = rotary_emb if image_rotary_emb is None else image_rotary_emb
        assert rotary is not None
        tables = half_tables(rotary)
        text = hidden_states[:, :0] if encoder_hidden_states is None else encoder_hidden_states
        count = text.shape[1]

        def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
            return torch.cat([x[:, :count], rotate(x[:, count:], cos, sin)], 1)

        seen = torch.cat([text, hidden_states], 1)
        q, k = turned(self.block.queries(seen), *tables[:2]), turned(self.block.keys(seen), *tables[2:])
        q, k, v = (each.transpose(1, 2) for each in (q, k, self.block.values(seen)))
        attended = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2).type_as(q)
        out: Tensor = attn.to_out[1](attn.to_out[0](attended))
        return out if encoder_hidden_states is None else (out[:, count:], out[:, :count])


@contextmanager
def given_rotation(blocks: Sequence[Block]) -> Iterator[None]:
    """Within the context blocks rotate by the tables (4, tokens, D / 2) that they get as their rotary embedding."""
    processors = [block.attention.processor for block in blocks]
    try:
        for block in blocks:
            block.attention.set_processor(GivenRotation(block))
        yield
    finally:
        for block, processor in zip(blocks, processors, strict=True):
            block.attention.set_processor(processor)
