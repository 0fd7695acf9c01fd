"""Arithmetic of a video transformer's blocks, in closed form; a multiply-add is two FLOPs.

Counted are the linear maps and the attentions. Left out are norms, rotary embeddings, the embedders,
the text encoder, the autoencoder, and what methods compute from queries and keys (about one per cent).
N are the video's tokens, L the text's; where text passes
through the blocks (joint attention), N + L tokens stand for N and there is no cross-attention.
"""

from __future__ import annotations

from typing import Any

from fastvmt.backbones.layout import BlockShape, Layout
from fastvmt.settings import Memory
from fastvmt.types import PassCounter

ATTENTION_BACKWARD = 2.5
"""Fused attention recomputes its logits in the backward pass: five products where the forward has two."""


def all_tokens(block: BlockShape, tokens: int) -> int:
    """Tokens that pass through a block, of ``tokens`` of the video."""
    return tokens + block.text_tokens if block.joint else tokens


def attention(block: BlockShape, tokens: int) -> float:
    """Forward FLOPs of self-attention's two products, 4 N^2 D."""
    return 4.0 * all_tokens(block, tokens) ** 2 * block.width


def cross_attention(block: BlockShape, tokens: int) -> float:
    """Forward FLOPs of cross-attention's two products, 4 N L D."""
    return 0.0 if block.joint else 4.0 * tokens * block.text_tokens * block.width


def linear(block: BlockShape, tokens: int) -> float:
    """Forward FLOPs of the maps of tokens: 8 N D^2 (self), 4 N D^2 (queries and output, cross), 4 N D Dff."""
    maps = 8.0 if block.joint else 12.0
    return all_tokens(block, tokens) * (maps * block.width**2 + 4.0 * block.width * block.ffn)


def block_forward(block: BlockShape, tokens: int) -> float:
    """FLOPs of one forward, the keys and values of the text for cross-attention (4 L D^2) included."""
    text = 0.0 if block.joint else 4.0 * block.text_tokens * block.width**2
    return linear(block, tokens) + attention(block, tokens) + cross_attention(block, tokens) + text


def block_backward(block: BlockShape, tokens: int) -> float:
    """FLOPs of one backward to the activations alone: weights are frozen, a cross-attended text has no gradient."""
    return linear(block, tokens) + ATTENTION_BACKWARD * (attention(block, tokens) + cross_attention(block, tokens))


def block_recompute(block: BlockShape, tokens: int, memory: Memory) -> float:
    """FLOPs of what the backward pass of one block computes again: a whole forward with ``low``."""
    if memory is Memory.low:
        return block_forward(block, tokens)
    products = block.cheap if memory is Memory.balanced else 0
    return 2.0 * products * all_tokens(block, tokens) * block.width**2


def transformer_flops(layout: Layout, passes: PassCounter, memory: Memory = Memory.fast) -> dict[str, Any] | None:
    """FLOPs of counted block passes over clips of the layout, or one frame of them.

    ``forward``, ``backward``, ``recompute`` (in backward passes, what ``memory`` has not kept) and their ``total``.
    None where the layout does not say the shape of a block.
    """
    block = layout.block
    if block is None:
        return None
    frames, height, width = layout.grid
    image = height * width
    clip = frames * image
    image_forwards = passes.image_forwards
    image_backwards = passes.image_backwards
    forward = (passes.block_forwards - image_forwards) * block_forward(block, clip)
    forward += image_forwards * block_forward(block, image)
    backward = (passes.block_backwards - image_backwards) * block_backward(block, clip)
    backward += image_backwards * block_backward(block, image)
    recompute = (passes.block_backwards - image_backwards) * block_recompute(block, clip, memory)
    recompute += image_backwards * block_recompute(block, image, memory)
    return {"forward": forward, "backward": backward, "recompute": recompute, "total": forward + backward + recompute}
