"""What a model folder says about shapes, read from its JSON files: no weights, no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from fastvmt.types import ClipShape

PARTS = ("model_index.json", "transformer", "vae", "text_encoder", "tokenizer", "scheduler")


def model_folder(path: str) -> Path:
    """The folder of a model: a path, or the name of a model that ships with the package.

    Raises ``FileNotFoundError`` naming what is missing and where it comes from.
    """
    shipped = Path(str(resources.files("fastvmt"))) / "models" / path
    folder = Path(path).expanduser()
    if not folder.is_dir() and shipped.is_dir():
        folder = shipped
    missing = [part for part in PARTS if not (folder / part).exists()]
    if missing:
        raise FileNotFoundError(
            f"backbone.path={path!r} is not a Wan model in diffusers' layout: missing {', '.join(missing)} under "
            f"{folder}. It needs {', '.join(PARTS)}, as in the Hugging Face repositories "
            "Wan-AI/Wan2.1-T2V-1.3B-Diffusers and Wan-AI/Wan2.1-T2V-14B-Diffusers. Download one and set "
            "backbone.path=<its folder>, or use backbone=tiny_wan, which ships with the package."
        )
    return folder


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

    def __post_init__(self) -> None:
        factor = self.temporal_factor
        if self.frames <= factor or (self.frames - 1) % factor:
            nearest = max(1, round((self.frames - 1) / factor)) * factor + 1
            raise ValueError(
                f"backbone.frames={self.frames} must be {factor} k + 1 with k >= 1 for {self.name}; "
                f"the nearest legal value is backbone.frames={nearest}"
            )
        for key, patch in (("height", self.patch[1]), ("width", self.patch[2])):
            value, multiple = getattr(self, key), self.spatial_factor * patch
            if value <= 0 or value % multiple:
                nearest = max(1, round(value / multiple)) * multiple
                raise ValueError(
                    f"backbone.{key}={value} must be a multiple of {multiple} for {self.name}; "
                    f"the nearest legal value is backbone.{key}={nearest}"
                )

    @property
    def clip(self) -> ClipShape:
        """The clips that the model takes and makes."""
        return ClipShape(self.frames, self.height, self.width, self.temporal_factor)

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


def read_layout(path: str, *, name: str, frames: int, height: int, width: int) -> Layout:
    """The layout of the model in ``path`` (see :func:`model_folder`) for clips of the given size."""
    folder = model_folder(path)
    transformer = json.loads((folder / "transformer" / "config.json").read_text())
    vae = json.loads((folder / "vae" / "config.json").read_text())
    return Layout(
        name=name,
        frames=frames,
        height=height,
        width=width,
        depth=transformer["num_layers"],
        temporal_factor=vae.get("scale_factor_temporal", 4),
        spatial_factor=vae.get("scale_factor_spatial", 8),
        channels=transformer["in_channels"],
        patch=tuple(transformer["patch_size"]),
        heads=transformer["num_attention_heads"],
    )
