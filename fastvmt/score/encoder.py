"""Encoders of frames and prompts into one space: the protocol, and a memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Protocol

from torch import Tensor

from fastvmt.cache import content_key


class ImageEncoder(Protocol):
    """Maps frames to unit vectors."""

    @property
    def provenance(self) -> dict[str, str]:
        """What it is: id, weights_sha256, preprocess, precision."""
        ...

    def encode_images(self, frames_TCHW: Tensor) -> Tensor:
        """uint8 RGB frames to float32 unit rows (T, D)."""
        ...


class FrameEncoder(ImageEncoder, Protocol):
    """Maps frames and prompts to unit vectors whose cosine says how well they fit."""

    def encode_text(self, prompts: list[str]) -> Tensor:
        """Prompts to float32 unit rows (B, D)."""
        ...

    def truncates(self, prompt: str) -> bool:
        """Whether the prompt is longer than the encoder reads."""
        ...


class RememberingEncoder:
    """An encoder that keeps its last answers: scores that share it encode each video once.

    Prompts need a :class:`FrameEncoder`, and are not kept.
    """

    def __init__(self, encoder: ImageEncoder, videos: int = 4) -> None:
        if videos < 1:
            raise ValueError(f"videos={videos} must be at least 1")
        self.encoder: Any = encoder
        self.videos = videos
        self.provenance = encoder.provenance
        self.rows: OrderedDict[str, Tensor] = OrderedDict()

    def encode_images(self, frames_TCHW: Tensor) -> Tensor:
        """See :class:`ImageEncoder`; a video is known by the digest of its shape and bytes."""
        key = content_key(shape=list(frames_TCHW.shape), frames=frames_TCHW)
        if key not in self.rows:
            self.rows[key] = self.encoder.encode_images(frames_TCHW)
        self.rows.move_to_end(key)
        while len(self.rows) > self.videos:
            self.rows.popitem(last=False)
        return self.rows[key]

    def encode_text(self, prompts: list[str]) -> Tensor:
        rows: Tensor = self.encoder.encode_text(prompts)
        return rows

    def truncates(self, prompt: str) -> bool:
        return bool(self.encoder.truncates(prompt))
