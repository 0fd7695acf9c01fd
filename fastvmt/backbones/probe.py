"""Forwards of a Wan transformer that read one block, and stop there or run on without its gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel, WanTransformerBlock
from torch import Tensor, nn

Tables = tuple[Tensor, ...]
"""Cosines and sines (B, tokens, 1, D) for queries and keys alike, or two pairs of them: queries', then keys'."""


def rotate(x: Tensor, rotary_emb: Tables) -> Tensor:
    """Rotary embedding of (B, tokens, N, D) with Wan's interleaved cosines and sines (B, tokens, 1, D)."""
    cos, sin = (table[..., 0::2] for table in (rotary_emb[0], rotary_emb[1].roll(-1, -1)))
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2).type_as(x)


def attention_input(block: WanTransformerBlock, hidden_states: Tensor, temb: Tensor) -> Tensor:
    """What a block's self-attention sees: the modulated first norm."""
    shift, scale = (block.scale_shift_table + temb.float())[:, :2].chunk(2, dim=1)
    normed: Tensor = block.norm1(hidden_states.float())
    return (normed * (1 + scale) + shift).type_as(hidden_states)


class QueryKey(nn.Module):
    """Stands in for a block: computes its queries and keys, and neither attention nor feed-forward."""

    kept: tuple[Tensor, Tensor]

    def __init__(self, block: WanTransformerBlock, rope: bool) -> None:
        super().__init__()
        self.block, self.rope = block, rope

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Tensor, temb: Tensor, rotary_emb: Tables) -> Tensor:
        """The arguments and the result's shape of ``WanTransformerBlock.forward``."""
        attn = self.block.attn1
        normed = attention_input(self.block, hidden_states, temb)
        q = attn.norm_q(attn.to_q(normed)).unflatten(2, (attn.heads, -1))
        k = attn.norm_k(attn.to_k(normed)).unflatten(2, (attn.heads, -1))
        self.kept = (rotate(q, rotary_emb[:2]), rotate(k, rotary_emb[-2:])) if self.rope else (q, k)
        return hidden_states


class TappedBlock(QueryKey):
    """Keeps a block's queries and keys, then runs it; nothing from here on has a gradient."""

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Tensor, temb: Tensor, rotary_emb: Tables) -> Tensor:
        super().forward(hidden_states, encoder_hidden_states, temb, rotary_emb)
        constant = tuple(table.detach() for table in rotary_emb)
        passed: Tensor = self.block(hidden_states.detach(), encoder_hidden_states, temb, constant)
        return passed


class KeyValue(nn.Module):
    """Stands in for a block: its keys (before the rotary embedding) and values (B, tokens, N D)."""

    kept: tuple[Tensor, Tensor]

    def __init__(self, block: WanTransformerBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Tensor, temb: Tensor, rotary_emb: Tables) -> Tensor:
        """The arguments and the result's shape of ``WanTransformerBlock.forward``."""
        attn = self.block.attn1
        normed = attention_input(self.block, hidden_states, temb)
        self.kept = attn.norm_k(attn.to_k(normed)), attn.to_v(normed)
        return hidden_states


class Residual(nn.Module):
    """Stands after a block: keeps the residual stream (B, tokens, N D)."""

    kept: Tensor

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Tensor, temb: Tensor, rotary_emb: Tables) -> Tensor:
        """The arguments and the result's shape of ``WanTransformerBlock.forward``."""
        self.kept = hidden_states
        return hidden_states


def blocks_in(transformer: WanTransformer3DModel) -> Sequence[WanTransformerBlock]:
    """The transformer's own list of blocks, which torch knows as modules only."""
    return cast(Sequence[WanTransformerBlock], transformer.blocks)


@contextmanager
def running(transformer: WanTransformer3DModel, blocks: Sequence[nn.Module]) -> Iterator[None]:
    """Within the context a forward runs these blocks. The transformer is restored whatever happens."""
    own = transformer.blocks
    transformer.blocks = nn.ModuleList(blocks)
    try:
        yield
    finally:
        transformer.blocks = own


@contextmanager
def stop_at(transformer: WanTransformer3DModel, block: int, rope: bool) -> Iterator[QueryKey]:
    """Within the context a forward runs ``block`` blocks and then leaves q and k in ``kept``.

    The transformer is restored whatever happens; the kept tensors stay differentiable.
    """
    probe = QueryKey(blocks_in(transformer)[block], rope)
    with running(transformer, [*blocks_in(transformer)[:block], probe]):
        yield probe
