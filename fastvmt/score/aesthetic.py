"""Aesthetic quality: LAION's linear predictor on CLIP ViT-L/14 features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import normalize

from fastvmt.score.encoder import ImageEncoder
from fastvmt.score.per_video import VideoMetric
from fastvmt.score.similarity import embed_frames
from fastvmt.score.weights import locate
from fastvmt.types import Video


def aesthetic_quality(features_TD: Tensor, weight_D: Tensor, bias: float) -> Tensor:
    """Mean over frames of (<w, f> + b) / 10 with unit features f; a scalar, usual range 0.4 to 0.7, not clamped.

    VBench (Huang et al., 2024), aesthetic quality.

    Example:
        >>> import torch
        >>> round(aesthetic_quality(torch.tensor([[3.0, 4.0]]), torch.tensor([5.0, 0.0]), bias=1.0).item(), 6)
        0.4
    """
    return ((normalize(features_TD.double(), dim=-1) @ weight_D.double() + bias) / 10).mean()


def read_head(path: str | Path | None) -> tuple[Tensor, float]:
    """Weight (D,) and bias of ``sa_0_4_vit_l_14_linear.pth``; ``ValueError`` if the file holds something else."""
    file = locate("aesthetic", path)
    state = file.state()
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    if set(shapes) != {"weight", "bias"} or not shapes["weight"][:-1] == shapes["bias"] == (1,):
        raise ValueError(file.message("is no linear head: weight (1, D) and bias (1,) expected"))
    return state["weight"][0].float(), float(state["bias"])


class AestheticQuality(VideoMetric):
    """:func:`aesthetic_quality` with CLIP ViT-L/14 and a head from :func:`read_head`.

    Example:
        >>> import torch
        >>> class Colour:
        ...     def encode_images(self, frames_TCHW):
        ...         return frames_TCHW.float().mean((2, 3))
        >>> red = Video(torch.tensor([255, 0, 0], dtype=torch.uint8).expand(2, 4, 4, 3), fps=8)
        >>> AestheticQuality(Colour(), (torch.tensor([4.0, 1.0, 1.0]), 1.0)).score(red)
        0.5
    """

    def __init__(self, encoder: ImageEncoder, head: tuple[Tensor, float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder, self.head = encoder, head

    def score(self, video: Video) -> float:
        features = embed_frames(video, self.encoder)
        if features.shape[-1] != len(self.head[0]):
            raise ValueError(
                f"the aesthetic head reads {len(self.head[0])} channels, the encoder gives {features.shape[-1]}: "
                "set metrics.weights.clip_l14 to CLIP ViT-L/14"
            )
        return float(aesthetic_quality(features, *self.head))
