"""Memory at a model's peaks, in closed form from its layout, its weights and the presets: nothing is loaded.

Counted with one clip at a time: weights, what a block computes, what autograd keeps of it, frames. Left out are what
the text encoder computes (a few hundred MiB), what a method computes from queries and keys, what adapters keep while
they are trained, what convolutions work in, and what is outside of the model: the networks of scores and trackers,
libraries, the allocator's waste.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastvmt.backbones.layout import AutoencoderShape, BlockShape, Layout, Weights
from fastvmt.cost.flops import all_tokens
from fastvmt.settings import Memory

SINGLE = 4
"""Bytes of a float32 number: autoencoder, latents, norms."""
RESIDUAL = 4
"""Float32 maps of the residual stream that a block in mixed precision holds at once."""
OUTSIDE = 4.5
"""Maps of the residual stream that a reading holds outside of its blocks: as embedded, as read, and their gradients."""
PASSING = 4.5
"""Maps beside the feed-forward's, where a block that keeps nothing holds most."""
OVERLAP = 16 / 9
"""Copies of all frames in decoded tiles, which overlap by a quarter of a side."""
ASSEMBLY = 4.75
"""Copies of all frames while the tiles are put together."""


@dataclass(frozen=True)
class Use:
    """How a run uses a model's memory."""

    memory: Memory
    offload: bool
    """Whether blocks wait on the CPU."""
    size: int
    """Bytes of a number of the transformer."""
    blocks: int
    """Blocks that a gradient goes through; 0 without any."""
    batch: int = 1
    """Latents in one denoising pass."""
    on_cpu: bool = False
    """Whether the device is the CPU, where all weights are in any case."""


def tokens_of(layout: Layout) -> int:
    """Tokens of a clip."""
    frames, height, width = layout.grid
    return frames * height * width


def kept(block: BlockShape, tokens: int, memory: Memory, size: int) -> float:
    """Bytes that a gradient keeps of a block: maps of its width and of its feed-forward, the text's keys and values.

    ``fast`` also keeps, in an architecture of mixed precision, what norms and modulation make in float32.
    """
    count = all_tokens(block, tokens)
    if memory is Memory.low:
        return float(size * count * block.width)
    text = 0 if block.joint else 2 * size * block.text_tokens * block.width
    if memory is Memory.balanced:
        return size * count * (block.kept_balanced * block.width + block.ffn) + text
    single = SINGLE * block.kept_single * block.width
    return count * (size * (block.kept_fast * block.width + block.ffn) + single) + text


def held(block: BlockShape, tokens: int, memory: Memory, size: int) -> float:
    """Bytes that the backward pass of one block holds beside those of :func:`kept`: what it computes again, too."""
    count = all_tokens(block, tokens)
    inside = size * (2 * block.ffn - block.width)
    if memory is Memory.fast:
        return float(count * inside)
    single = SINGLE * RESIDUAL * block.width if block.kept_single else 0
    again = kept(block, tokens, Memory.fast, size) - kept(block, tokens, memory, size)
    return count * max(inside, single) + again


def guided(block: BlockShape, tokens: int, memory: Memory, size: int, blocks: int) -> float:
    """Bytes at the peak of a reading with its gradient through so many blocks."""
    outside = OUTSIDE * size * all_tokens(block, tokens) * block.width
    return blocks * kept(block, tokens, memory, size) + held(block, tokens, memory, size) + outside


def passing(block: BlockShape, tokens: int, size: int) -> float:
    """Bytes that a block holds at once where there is no gradient."""
    single = SINGLE * RESIDUAL if block.kept_single else 0
    outside = block.width * (3 * size + single)
    return all_tokens(block, tokens) * max(outside, size * (2 * block.ffn + PASSING * block.width))


def coding(autoencoder: AutoencoderShape, layout: Layout, memory: Memory) -> tuple[float, float]:
    """Bytes that encoding and decoding hold beside the weights; ``low`` decodes in tiles."""
    pixels = layout.height * layout.width
    frames = 3.0 * SINGLE * layout.frames * pixels
    encode, decode = (frames + each * pixels for each in (autoencoder.encode, autoencoder.decode))
    if memory is not Memory.low or pixels <= autoencoder.tile:
        return encode, decode
    tile = autoencoder.tile * (autoencoder.decode + 3.0 * SINGLE * layout.frames)
    return encode, min(decode, max(tile + OVERLAP * frames, ASSEMBLY * frames))


def peaks(layout: Layout, weights: Weights, use: Use) -> Mapping[str, float] | None:
    """Bytes on the device at the peak of each stage; None where the layout does not say the shapes that set them.

    ``text`` is the encoding of prompts, before anything else is loaded; ``encode``, ``decode`` are the autoencoder's,
    ``denoise`` a step without gradient, ``guide`` one reading with its gradient, where there is one.
    """
    block, autoencoder = layout.block, layout.autoencoder
    if block is None or autoencoder is None:
        return None
    tokens = tokens_of(layout)
    resident = weights.autoencoder + weights.on_device(use.offload, use.on_cpu)
    encode, decode = coding(autoencoder, layout, use.memory)
    found = {
        "text": float(weights.text_encoder),
        "encode": resident + encode,
        "denoise": resident + use.batch * passing(block, tokens, use.size),
        "decode": resident + decode,
    }
    if use.blocks:
        found["guide"] = resident + guided(block, tokens, use.memory, use.size, use.blocks)
    return found
