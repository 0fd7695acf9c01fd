"""Changes to a Wan transformer's self-attention that last as long as a context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_wan import WanAttention, WanTransformer3DModel
from torch import Tensor, nn

from fastvmt.backbones.probe import Tables, blocks_in, rotate


@contextmanager
def given_keys_and_values(transformer: WanTransformer3DModel, block: int, k: Tensor, v: Tensor) -> Iterator[None]:
    """Within the context ``block``'s self-attention uses these keys (before rotation) and values (B, tokens, N D)."""
    attn = blocks_in(transformer)[block].attn1
    with ExitStack() as hooks:
        for module, given in ((attn.norm_k, k), (attn.to_v, v)):
            handle = module.register_forward_hook(lambda _module, _input, _output, given=given: given)
            hooks.callback(handle.remove)
        yield


class GivenTables(nn.Module):
    """Stands in for the rotary embedding: returns tables that were made elsewhere."""

    def __init__(self, tables: Tables) -> None:
        super().__init__()
        self.tables = tables

    def forward(self, hidden_states: Tensor) -> Tables:
        """The argument of ``WanRotaryPosEmbed.forward``."""
        return self.tables


class TwoRotations:
    """A self-attention processor that turns queries and keys by tables of their own."""

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: None,
        attention_mask: None,
        rotary_emb: Tables,
    ) -> Tensor:
        """The arguments of ``WanAttnProcessor``, as a block passes them to its self-attention."""
        q = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1))
        k = attn.norm_k(attn.to_k(hidden_states)).unflatten(2, (attn.heads, -1))
        v = attn.to_v(hidden_states).unflatten(2, (attn.heads, -1))
        attended = dispatch_attention_fn(rotate(q, rotary_emb[:2]), rotate(k, rotary_emb[-2:]), v)
        projected: Tensor = attn.to_out[1](attn.to_out[0](attended.flatten(2).type_as(q)))
        return projected


def interleaved(half: Tensor) -> Tensor:
    """(tokens, D / 2) as Wan's tables (1, tokens, 1, D), each entry twice."""
    return half.repeat_interleave(2, -1)[None, :, None]


@contextmanager
def given_rotation(transformer: WanTransformer3DModel, tables_4SD: Tensor) -> Iterator[None]:
    """Within the context every block rotates by ``tables_4SD`` (4, tokens, D / 2), differentiable.

    In order: cosines and sines of the queries, cosines and sines of the keys.
    """
    own, attentions = transformer.rope, [block.attn1 for block in blocks_in(transformer)]
    processors = [attn.processor for attn in attentions]
    try:
        transformer.rope = GivenTables(tuple(map(interleaved, tables_4SD)))  # type: ignore[assignment]
        for attn in attentions:
            attn.set_processor(TwoRotations())  # type: ignore[arg-type]
        yield
    finally:
        transformer.rope = own
        for attn, processor in zip(attentions, processors, strict=True):
            attn.set_processor(processor)


def rotation_tables(transformer: WanTransformer3DModel, latents: Tensor) -> Tensor:
    """The model's own tables in the form of :func:`given_rotation`, float32."""
    cos, sin = (table[0, :, 0, 0::2].float() for table in transformer.rope(latents))
    return torch.stack([cos, sin, cos, sin])
