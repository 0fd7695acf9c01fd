"""What a model folder says about shapes, read from its JSON files: no weights, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastvmt.types import ClipShape


@dataclass(frozen=True)
class BlockShape:
    """The sizes that set the cost of a transformer block."""

    width: int
    """D: channels of a token."""
    ffn: int
    """Channels inside the feed-forward."""
    text_tokens: int
    """Tokens of the text that a block sees."""
    joint: bool = False
    """Whether text tokens pass through the block beside the video's, instead of being seen by a cross-attention."""
    cheap: int = 4
    """Products of width by width that ``memory=balanced`` computes again."""
    kept_fast: int = 6
    """What a gradient keeps of a token in the transformer's number format, in maps of the width, beside one of ``ffn``
    channels: with ``memory=fast``."""
    kept_balanced: int = 6
    """The same with ``memory=balanced``."""
    kept_single: int = 6
    """What it keeps with ``memory=fast`` in float32; 0 where a block computes in one number format. Wan's, as the
    other defaults."""


@dataclass(frozen=True)
class AutoencoderShape:
    """What sets the memory of an autoencoder, counted on its architecture."""

    encode: float
    """Bytes for each pixel of a frame that encoding holds at once, beside the frames themselves."""
    decode: float
    tile: int
    """Pixels of a tile."""


@dataclass(frozen=True)
class Weights:
    """Bytes of a model's parts, each in the number format that it is loaded in."""

    text_encoder: int
    autoencoder: int
    transformer: int
    """One transformer, all of it."""
    blocks: int
    """Of it, the layers of its blocks."""
    layers: int
    """Those of one block."""
    transformers: int = 1
    """Two of a model with two experts."""

    def on_device(self, offload: bool, on_cpu: bool) -> int:
        """Bytes of transformers on the device; on the CPU all are there, a GPU has the one in charge."""
        if on_cpu:
            return self.transformers * self.transformer
        return self.transformer - self.blocks + self.layers if offload else self.transformer


@dataclass(frozen=True)
class Layout:
    """A model's shapes for clips of one size; construction checks that the size is legal."""

    name: str
    frames: int
    """Pixel frames of a clip."""
    height: int
    width: int
    depth: int
    """Transformer blocks."""
    temporal_factor: int
    spatial_factor: int
    channels: int
    """Latent channels."""
    patch: tuple[int, int, int]
    heads: int
    """Attention heads of a block."""
    rotary: bool = True
    """Whether queries and keys are rotated by their positions."""
    latent_step: int = 1
    """Clips have ``latent_step`` k + 1 latent frames."""
    own_levels: bool = False
    """Whether the backbone's ``sigmas`` are the model's own, which solvers other than Euler's would pass over."""
    boundary: float | None = None
    """Noise level below which a second expert is in charge; None: there is one transformer."""
    block: BlockShape | None = None
    """None where the cost of a block is not known."""
    autoencoder: AutoencoderShape | None = None
    """None where it is not known."""

    def __post_init__(self) -> None:
        clip = self.clip
        if self.frames <= clip.step or not clip.takes(self.frames):
            raise ValueError(
                f"backbone.frames={self.frames} must be {clip.step} k + 1 with k >= 1 for {self.name}; "
                f"the nearest legal value is backbone.frames={clip.nearest(self.frames)}"
            )
        for key, patch in (("height", self.patch[1]), ("width", self.patch[2])):
            value = getattr(self, key)
            multiple = self.spatial_factor * patch
            if value <= 0 or value % multiple:
                nearest = max(1, round(value / multiple)) * multiple
                raise ValueError(
                    f"backbone.{key}={value} must be a multiple of {multiple} for {self.name}; "
                    f"the nearest legal value is backbone.{key}={nearest}"
                )

    @property
    def clip(self) -> ClipShape:
        """The clips that the model takes and makes."""
        return ClipShape(self.frames, self.height, self.width, self.temporal_factor * self.latent_step)

    @property
    def latent_shape(self) -> tuple[int, int, int, int, int]:
        """(1, C, F, H', W')."""
        frames = (self.frames - 1) // self.temporal_factor + 1
        return 1, self.channels, frames, self.height // self.spatial_factor, self.width // self.spatial_factor

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens (F, H, W)."""
        sizes = zip(self.latent_shape[2:], self.patch, strict=True)
        frames, height, width = (extent // patch for extent, patch in sizes)
        return frames, height, width

    def check_block(self, block: int | Sequence[int], key: str) -> None:
        """Raise ``ValueError`` that names ``key`` when the model lacks the block, or one of the blocks."""
        if not all(0 <= each < self.depth for each in ([block] if isinstance(block, int) else block)):
            mend = "guidance.block, which it follows, or method.block" if key == "method.block" else key
            raise ValueError(f"{key}={block} does not exist: {self.name} has blocks 0..{self.depth - 1}. Set {mend}")

    def check_rotary(self, setting: str) -> None:
        """Raise ``ValueError`` that names ``setting`` when the model rotates no queries and keys."""
        if not self.rotary:
            raise ValueError(
                f"{setting} needs a rotary embedding, but {self.name} adds positions to its tokens before block 0: "
                "set guidance.rope=false (method.rope=false) and method.target=latent, or take another backbone"
            )
