"""Arithmetic of a Wan transformer's blocks, in closed form; a multiply-add is two FLOPs.

Counted are the linear maps and the two attentions. Left out are norms, rotary embeddings, the
embedders, the text encoder, the autoencoder, what methods compute from queries and keys (about one
per cent), and the second forward of gradient checkpointing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fastvmt.backbones.layout import model_folder
from fastvmt.types import PassCounter

ATTENTION_BACKWARD = 2.5
"""Fused attention recomputes its logits in the backward pass: five products where the forward has two."""


@dataclass(frozen=True)
class Block:
    """The sizes that set a transformer block's cost."""

    width: int
    """D: channels of a token."""
    ffn: int
    """Channels inside the feed-forward."""
    text_tokens: int
    """Tokens that cross-attention sees."""

    def attention(self, tokens: int) -> float:
        """Forward FLOPs of self-attention's two products, 4 N^2 D."""
        return 4.0 * tokens**2 * self.width

    def cross_attention(self, tokens: int) -> float:
        """Forward FLOPs of cross-attention's two products, 4 N L D."""
        return 4.0 * tokens * self.text_tokens * self.width

    def linear(self, tokens: int) -> float:
        """Forward FLOPs of the maps of video tokens: 8 N D^2 (self), 4 N D^2 (cross), 4 N D Dff."""
        return tokens * (12.0 * self.width**2 + 4.0 * self.width * self.ffn)

    def forward(self, tokens: int) -> float:
        """FLOPs of one forward, the keys and values of the text (4 L D^2) included."""
        text = 4.0 * self.text_tokens * self.width**2
        return self.linear(tokens) + self.attention(tokens) + self.cross_attention(tokens) + text

    def backward(self, tokens: int) -> float:
        """FLOPs of one backward to the activations alone: weights are frozen, the text needs no gradient."""
        return self.linear(tokens) + ATTENTION_BACKWARD * (self.attention(tokens) + self.cross_attention(tokens))


def read_block(path: str, text_tokens: int) -> Block | None:
    """The block of the model in ``path`` (see :func:`model_folder`); None for another architecture."""
    config = json.loads((model_folder(path) / "transformer" / "config.json").read_text())
    if config.get("_class_name") != "WanTransformer3DModel":
        return None
    return Block(config["num_attention_heads"] * config["attention_head_dim"], config["ffn_dim"], text_tokens)


def transformer_flops(block: Block, grid: tuple[int, int, int], passes: PassCounter) -> dict[str, Any]:
    """FLOPs of counted block passes over a grid of F x H x W tokens, or one frame of it: forward, backward, both."""
    image = grid[1] * grid[2]
    clip, f, b = grid[0] * image, passes.image_forwards, passes.image_backwards
    forward = (passes.block_forwards - f) * block.forward(clip) + f * block.forward(image)
    backward = (passes.block_backwards - b) * block.backward(clip) + b * block.backward(image)
    return {"forward": forward, "backward": backward, "total": forward + backward}
