"""CLIP as an encoder of frames and prompts."""

from __future__ import annotations

import fastvmt.torchvision_ops  # noqa: F401  before open_clip, which imports torchvision

# isort: split
from pathlib import Path

import open_clip
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from fastvmt.score.clip.files import ARCHITECTURE, CLIP, PREPROCESSING
from fastvmt.score.clip.weights import load_clip
from fastvmt.score.preprocess import check_frames, vbench_clip
from fastvmt.score.weights import WeightSource
from fastvmt.settings import check_choice

BATCH = 64
"""Frames encoded at a time."""


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
        check_choice("metrics.clip.preprocess", preprocess, PREPROCESSING)
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
