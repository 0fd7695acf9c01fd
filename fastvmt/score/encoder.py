"""Encoders of frames and prompts into one space: the protocol, CLIP from local files, and a memory."""

from __future__ import annotations

import fastvmt.torchvision_ops  # noqa: F401  before open_clip, which imports torchvision

# isort: split
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

import open_clip
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from fastvmt.cache import content_key
from fastvmt.score.clip_weights import ARCHITECTURE, CLIP, load_clip
from fastvmt.score.preprocess import check_frames, vbench_clip
from fastvmt.score.weights import WeightSource

BATCH = 64
"""Frames encoded at a time."""
PREPROCESSING = ("pil", "vbench")


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


class ClipEncoder:
    """A CLIP model from local files, in float32; see :func:`load_clip` for the forms it may have."""

    def __init__(
        self,
        path: str | Path | None,
        device: str = "cpu",
        preprocess: str = "pil",
        architecture: str = ARCHITECTURE,
        quick_gelu: bool | None = None,
        source: WeightSource = CLIP,
    ) -> None:
        """``preprocess``: ``pil`` is antialiased, as CLIP was published; ``vbench`` is VBench's (see there).

        ``source`` is what errors quote.
        """
        if preprocess not in PREPROCESSING:
            raise ValueError(f"metrics.clip.preprocess={preprocess!r} must be one of {', '.join(PREPROCESSING)}")
        self.clip = load_clip(source.locate(path), device, architecture, quick_gelu)
        self.device = device
        self.preprocess = preprocess
        self.transform = open_clip.image_transform(self.clip.size, is_train=False, **self.clip.prepare)
        self.id = f"{Path(str(path)).name} ({self.clip.form})"

    @property
    def provenance(self) -> dict[str, str]:
        return {
            "id": self.id,
            "weights_sha256": self.clip.sha256,
            "preprocess": self.preprocess,
            "precision": "float32",
        }

    @torch.no_grad()
    def encode_images(self, frames_TCHW: Tensor) -> Tensor:
        """See :class:`ImageEncoder`."""
        check_frames(frames_TCHW)
        rows = [self.clip.model.encode_image(self.prepared(part).to(self.device)) for part in frames_TCHW.split(BATCH)]
        return normalize(torch.cat(rows).float(), dim=-1).cpu()

    def prepared(self, frames_TCHW: Tensor) -> Tensor:
        """Frames as the image tower expects them, float32."""
        if self.preprocess == "vbench":
            return vbench_clip(frames_TCHW, self.clip.size, self.clip.prepare["mean"], self.clip.prepare["std"])
        images = frames_TCHW.permute(0, 2, 3, 1).cpu().numpy()
        return torch.stack([self.transform(Image.fromarray(image)) for image in images])

    @torch.no_grad()
    def encode_text(self, prompts: list[str]) -> Tensor:
        """See :class:`FrameEncoder`; prompts longer than the context are cut and keep their end token."""
        tokens = self.clip.tokenizer(prompts, context_length=self.clip.context)
        return normalize(self.clip.model.encode_text(tokens.to(self.device)).float(), dim=-1).cpu()

    def truncates(self, prompt: str) -> bool:
        """See :class:`FrameEncoder`: with twice the room, the tokens within the context would differ."""
        context = self.clip.context
        cut, whole = (self.clip.tokenizer([prompt], context_length=room) for room in (context, 2 * context))
        return not torch.equal(cut, whole[:, :context])


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
