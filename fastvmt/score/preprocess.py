"""From uint8 frames to what an image encoder expects: the antialiased way, and VBench's."""

from __future__ import annotations

import fastvmt.torchvision_ops  # noqa: F401  before torchvision is imported

# isort: split
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation that DINO was trained with."""
MODES = {"bicubic": InterpolationMode.BICUBIC, "bilinear": InterpolationMode.BILINEAR}


def check_frames(frames_TCHW: Tensor, least: int = 1) -> None:
    """Raises ``ValueError`` unless frames are uint8 (T, 3, H, W) and ``least`` or more."""
    if frames_TCHW.dtype != torch.uint8 or frames_TCHW.ndim != 4 or frames_TCHW.shape[1] != 3:
        raise ValueError(f"frames are uint8 (T, 3, H, W), got {frames_TCHW.dtype} {tuple(frames_TCHW.shape)}")
    if len(frames_TCHW) < least:
        raise ValueError(f"at least {least} frames are needed, got {len(frames_TCHW)}")


def shorter_side(frames_TCHW: Tensor, size: int, interpolation: str, antialias: bool) -> Tensor:
    """Frames as float32 in 0..255, resized so that the shorter side is ``size``.

    Nothing is rounded or clamped, so that bicubic overshoot survives as it does in VBench.
    """
    resized: Tensor = F.resize(frames_TCHW.float(), [size], MODES[interpolation], antialias=antialias)
    return resized


def normalized(frames_TCHW: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Frames of 0..255 divided by 255, minus ``mean``, over ``std``."""
    images: Tensor = F.normalize(frames_TCHW / 255, list(mean), list(std))
    return images


def vbench_clip(frames_TCHW: Tensor, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """VBench's preparation for CLIP: shorter side to ``size``, bicubic without antialiasing, centre crop."""
    check_frames(frames_TCHW)
    return normalized(F.center_crop(shorter_side(frames_TCHW, size, "bicubic", False), [size]), mean, std)
