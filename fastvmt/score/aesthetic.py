"""Aesthetic quality: LAION's linear predictor on CLIP ViT-L/14 features."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import normalize

from fastvmt.score.clip.files import CLIP_L14
from fastvmt.score.encoder import ImageEncoder
from fastvmt.score.features import FeatureMetric
from fastvmt.score.networks import Networks
from fastvmt.score.registry import score
from fastvmt.score.weights import WeightSource
from fastvmt.weight_file import WeightFile

HEAD = WeightSource(
    name="aesthetic",
    what="aesthetic head",
    file="sa_0_4_vit_l_14_linear.pth",
    origin="the repository LAION-AI/aesthetic-predictor",
    licence="MIT",
    size="4 KB",
    override="metrics.weights.aesthetic",
)


def aesthetic_quality(features_TD: Tensor, weight_D: Tensor, bias: float) -> Tensor:
    """Mean over frames of (<w, f> + b) / 10 with unit features f; a scalar, usual range 0.4 to 0.7, not clamped.

    VBench (Huang et al., 2024), aesthetic quality.

    Example:
        >>> import torch
        >>> round(aesthetic_quality(torch.tensor([[3.0, 4.0]]), torch.tensor([5.0, 0.0]), bias=1.0).item(), 6)
        0.4
    """
    return ((normalize(features_TD.double(), dim=-1) @ weight_D.double() + bias) / 10).mean()


def read_head(file: WeightFile) -> tuple[Tensor, float]:
    """Weight (D,) and bias of ``sa_0_4_vit_l_14_linear.pth``; ``ValueError`` if the file holds something else."""
    state = file.state()
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    if set(shapes) != {"weight", "bias"} or not shapes["weight"][:-1] == shapes["bias"] == (1,):
        raise ValueError(file.message("is no linear head: weight (1, D) and bias (1,) expected"))
    return state["weight"][0].float(), float(state["bias"])


class AestheticQuality(FeatureMetric):
    """:func:`aesthetic_quality` with CLIP ViT-L/14 and a head from :func:`read_head`.

    Example:
        >>> import torch
        >>> class Colour:
        ...     def encode_images(self, frames_TCHW):
        ...         return frames_TCHW.float().mean((2, 3))
        >>> red = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
        >>> red[:, 0, 4:] = 200
        >>> metric = AestheticQuality(Colour(), (torch.tensor([4.0, 1.0, 1.0]), 1.0))
        >>> metric.update(red, index=[0])
        >>> metric.compute().item()
        0.5
    """

    columns = ("aesthetic_quality",)

    def __init__(self, encoder: ImageEncoder, head: tuple[Tensor, float], head_sha256: str = "", **kwargs: Any) -> None:
        super().__init__(encoder, **kwargs)
        self.head = head
        self.head_sha256 = head_sha256

    @property
    def source(self) -> dict[str, Any]:
        return {**super().source, "head": "LAION linear, ViT-L/14", "head_sha256": self.head_sha256}

    def of_features(self, features_TD: Tensor) -> Tensor:
        weight_D, bias = self.head
        if features_TD.shape[-1] != len(weight_D):
            raise ValueError(
                f"the aesthetic head reads {len(weight_D)} channels, the encoder gives {features_TD.shape[-1]}: "
                "set metrics.weights.clip_l14 to CLIP ViT-L/14"
            )
        return aesthetic_quality(features_TD, weight_D, bias)


@score(
    "aesthetic_quality",
    definition="mean of LAION's linear head on CLIP ViT-L/14 features / 10",
    source="VBench (Huang et al., 2024)",
    range="about 0.4..0.7, not clamped",
    limits="motion or prompt are asked for: it says nothing of them",
    weights=(CLIP_L14, HEAD),
)
def laion(networks: Networks) -> AestheticQuality:
    clip = networks.as_vbench(networks.clip_l14)
    file = networks.file(HEAD)
    return AestheticQuality(clip, read_head(file), file.sha256)
