"""Encoders of frames and prompts into one space: the protocol, and open_clip from a local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import open_clip
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

FILES = ("open_clip_config.json", "open_clip_model.safetensors")
BATCH = 64
"""Frames encoded at a time."""


class FrameEncoder(Protocol):
    """Maps frames and prompts to unit vectors whose cosine says how well they fit."""

    def encode_images(self, frames_TCHW: Tensor) -> Tensor:
        """uint8 RGB frames to float32 unit rows (T, D)."""
        ...

    def encode_text(self, prompts: list[str]) -> Tensor:
        """Prompts to float32 unit rows (B, D)."""
        ...


class OpenClipEncoder:
    """A CLIP model in open_clip's folder layout; nothing is downloaded, everything runs in float32."""

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        """Raises ``FileNotFoundError`` when a file of the folder is missing."""
        folder = Path(path).expanduser()
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:  # open_clip would go on with random weights
            raise FileNotFoundError(
                f"CLIP folder {str(path)!r} lacks {', '.join(missing)}. It needs {' and '.join(FILES)}, as in the "
                "Hugging Face repository timm/vit_base_patch32_clip_224.openai (about 600 MB, MIT licence). "
                "Download it and set metrics.clip.model=<folder>."
            )
        name = f"local-dir:{folder}"
        self.device = device
        self.model, self.preprocess = open_clip.create_model_from_pretrained(name, device=device, precision="fp32")
        self.model.eval()
        self.tokenizer = open_clip.get_tokenizer(name)

    @torch.no_grad()
    def encode_images(self, frames_TCHW: Tensor) -> Tensor:
        """See :class:`FrameEncoder`; resize and crop are antialiased, as the folder's configuration says."""
        if frames_TCHW.dtype != torch.uint8 or frames_TCHW.ndim != 4 or frames_TCHW.shape[1] != 3:
            raise ValueError(f"frames are uint8 (T, 3, H, W), got {frames_TCHW.dtype} {tuple(frames_TCHW.shape)}")
        images = [Image.fromarray(frame) for frame in frames_TCHW.permute(0, 2, 3, 1).cpu().numpy()]
        rows = [
            self.model.encode_image(
                torch.stack([self.preprocess(image) for image in images[i : i + BATCH]]).to(self.device)
            )
            for i in range(0, len(images), BATCH)
        ]
        return normalize(torch.cat(rows).float(), dim=-1).cpu()

    @torch.no_grad()
    def encode_text(self, prompts: list[str]) -> Tensor:
        """See :class:`FrameEncoder`; prompts longer than the context are cut and keep their end token."""
        return normalize(self.model.encode_text(self.tokenizer(prompts).to(self.device)).float(), dim=-1).cpu()
