"""A forward of a Wan transformer that stops at the queries and keys of one block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn


def rotate(x: Tensor, rotary_emb: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding of (B, tokens, N, D) with Wan's interleaved cosines and sines (B, tokens, 1, D)."""
    cos, sin = (table[..., 0::2] for table in (rotary_emb[0], rotary_emb[1].roll(-1, -1)))
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2).type_as(x)


class QueryKey(nn.Module):
    """Stands in for a block: computes its queries and keys, and neither attention nor feed-forward."""

    def __init__(self, block: nn.Module, rope: bool) -> None:
        super().__init__()
        self.block, self.rope = block, rope
        self.kept: tuple[Tensor, Tensor] | None = None

    def forward(
        self, hidden_states: Tensor, encoder_hidden_states: Tensor, temb: Tensor, rotary_emb: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The arguments and the result's shape of ``WanTransformerBlock.forward``."""
        block, attn = self.block, self.block.attn1
        shift, scale = (block.scale_shift_table + temb.float())[:, :2].chunk(2, dim=1)
        normed = (block.norm1(hidden_states.float()) * (1 + scale) + shift).type_as(hidden_states)
        q = attn.norm_q(attn.to_q(normed)).unflatten(2, (attn.heads, -1))
        k = attn.norm_k(attn.to_k(normed)).unflatten(2, (attn.heads, -1))
        self.kept = (rotate(q, rotary_emb), rotate(k, rotary_emb)) if self.rope else (q, k)
        return hidden_states


@contextmanager
def stop_at(transformer: WanTransformer3DModel, block: int, rope: bool) -> Iterator[QueryKey]:
    """Within the context a forward runs ``block`` blocks and then leaves q and k in ``kept``.

    The transformer is restored whatever happens; the kept tensors stay differentiable.
    """
    blocks = transformer.blocks
    probe = QueryKey(blocks[block], rope)
    transformer.blocks = nn.ModuleList([*blocks[:block], probe])
    try:
        yield probe
    finally:
        transformer.blocks = blocks
