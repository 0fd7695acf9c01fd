"""DINO ViT-B/16 through timm: the features of subject consistency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from fastvmt.score.preprocess import IMAGENET, check_frames, normalized, shorter_side
from fastvmt.score.weights import WeightSource

DINO = WeightSource(
    name="dino",
    what="DINO ViT-B/16",
    file="dino_vitbase16_pretrain.pth or model.safetensors",
    origin="the facebookresearch/dino release or the Hugging Face repository timm/vit_base_patch16_224.dino",
    licence="Apache-2.0",
    size="340 MB",
    override="metrics.weights.dino",
)
MODEL = "vit_base_patch16_224.dino"
SIDE = 224
PATCH = 16
BATCH = 16
"""Frames encoded at a time."""


class DinoEncoder:
    """CLS features of a whole frame, its shorter side at 224 pixels and nothing cropped but a partial patch.

    ``vbench_compat`` resizes without antialiasing and stretches the position embeddings by the rule of
    DINO's release; otherwise frames are antialiased and timm stretches the embeddings. Both are float32.
    """

    def __init__(self, model: Any, sha256: str, vbench_compat: bool = False, device: str = "cpu") -> None:
        """``model``: a timm vision transformer with a class token; see :func:`load_dino`."""
        self.model = model.eval().to(device)
        self.vbench_compat = vbench_compat
        self.device = device
        self.provenance = {
            "id": MODEL,
            "weights_sha256": sha256,
            "preprocess": "vbench" if vbench_compat else "antialiased",
            "precision": "float32",
        }

    @torch.no_grad()
    def encode_images(self, frames_TCHW: Tensor) -> Tensor:
        """uint8 RGB frames to float32 unit rows (T, D)."""
        check_frames(frames_TCHW)
        rows = [self.features(self.prepared(part).to(self.device)) for part in frames_TCHW.split(BATCH)]
        return normalize(torch.cat(rows).float(), dim=-1).cpu()

    def prepared(self, frames_TCHW: Tensor) -> Tensor:
        """Normalised frames, cut on the right and at the bottom to whole patches."""
        small = shorter_side(frames_TCHW, SIDE, "bilinear", antialias=not self.vbench_compat)
        height, width = (length // PATCH * PATCH for length in small.shape[-2:])
        return normalized(small[..., :height, :width], *IMAGENET)

    def features(self, images_TCHW: Tensor) -> Tensor:
        """The class token after the last block, (T, D)."""
        if not self.vbench_compat:
            plain: Tensor = self.model(images_TCHW)
            return plain
        model = self.model
        grid = (images_TCHW.shape[-2] // PATCH, images_TCHW.shape[-1] // PATCH)
        patches = model.patch_embed(images_TCHW).flatten(1, 2)
        tokens = torch.cat([model.cls_token.expand(len(patches), -1, -1), patches], 1)
        tokens = tokens + stretched_positions(model.pos_embed, grid)
        stretched: Tensor = model.norm(model.blocks(model.norm_pre(tokens)))[:, 0]
        return stretched


def stretched_positions(embedding_1ND: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embeddings (class token first) of a square grid for a grid (rows, columns).

    Bicubic by the factors (rows + 0.1) / side and (columns + 0.1) / side, as DINO's release has it: the 0.1
    was meant against rounding and shifts the sampling points a little.
    """
    positions = embedding_1ND[:, 1:]
    side = round(positions.shape[1] ** 0.5)
    if grid == (side, side):
        return embedding_1ND
    square = positions.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factors = tuple((length + 0.1) / side for length in grid)
    wide = interpolate(square, scale_factor=factors, mode="bicubic")
    assert tuple(wide.shape[-2:]) == grid
    return torch.cat([embedding_1ND[:, :1], wide.permute(0, 2, 3, 1).flatten(1, 2)], 1)


def load_dino(path: str | Path | None, vbench_compat: bool = False, device: str = "cpu") -> DinoEncoder:
    """DINO from ``dino_vitbase16_pretrain.pth``, a ``.safetensors`` of timm's, or a folder that holds one.

    Raises ``MissingWeightsError`` without the file and ``ValueError`` if its tensors are not DINO ViT-B/16.
    """
    import timm

    found = DINO.locate(path)
    if found.path.is_dir():
        found = DINO.locate(found.path / "model.safetensors")
    model = timm.create_model(
        MODEL, pretrained=False, num_classes=0, dynamic_img_size=True, global_pool="token", weight_init="skip"
    )
    found.fill(model, "DINO ViT-B/16")
    return DinoEncoder(model, found.sha256, vbench_compat, device)
