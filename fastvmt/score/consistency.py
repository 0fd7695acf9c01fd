"""Whether frames resemble one another: CLIP's temporal consistency, VBench's two consistencies, DeT's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastvmt.score.clip.files import CLIP
from fastvmt.score.encoder import ImageEncoder
from fastvmt.score.features import FeatureMetric, cosines
from fastvmt.score.networks import Networks
from fastvmt.score.registry import score
from fastvmt.score.subject import DINO

FROZEN = "the video is frozen, which scores 1: look at `speed`"
DET = "DeT (Shi et al., 2025)"


def temporal_consistency(features_TD: Tensor) -> Tensor:
    """Mean over t >= 1 of the cosine <f_t-1, f_t> of unit features; a scalar in [-1, 1].

    Of CLIP's embeddings: frame consistency (Esser et al., 2023). A frozen video scores 1: read it beside a
    speed. Raises ``ValueError`` for fewer than two frames.

    Example:
        >>> temporal_consistency(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).item()
        0.5
    """
    return cosines(features_TD)[0].mean()


def consistency(features_TD: Tensor) -> Tensor:
    """Mean over t >= 1 of (max(0, <f_t-1, f_t>) + max(0, <f_0, f_t>)) / 2 with unit f; a scalar in [0, 1].

    VBench (Huang et al., 2024), subject and background consistency. A frozen video scores 1. Raises
    ``ValueError`` for fewer than two frames.

    Example:
        >>> x, y = torch.eye(2)
        >>> consistency(torch.stack([x, y, y])).item()  # frame 1: (0 + 0) / 2, frame 2: (1 + 0) / 2
        0.25
    """
    previous, first = cosines(features_TD)
    return ((previous.clamp_min(0) + first.clamp_min(0)) / 2).mean()


def det_consistency(features_TD: Tensor, include_self: bool = False) -> Tensor:
    """Mean over frames of the mean cosine with the first and the previous frame; a scalar in [-1, 1].

    ``include_self`` also counts frame 0, compared with itself, as the code released with DeT (Shi et al., 2025): it
    raises the score by (1 - score) / T. Raises ``ValueError`` for fewer than two frames.

    Example:
        >>> x, y = torch.eye(2)
        >>> det_consistency(torch.stack([x, -x])).item(), det_consistency(torch.stack([x, -x]), True).item()
        (-1.0, 0.0)
    """
    previous, first = cosines(features_TD)
    rest = (previous + first) / 2
    return torch.cat([torch.ones_like(rest[:1]), rest]).mean() if include_self else rest.mean()


class TemporalConsistency(FeatureMetric):
    """:func:`temporal_consistency` of CLIP's features, in [-1, 1].

    Example:
        >>> class Colour:
        ...     def encode_images(self, frames_TCHW):
        ...         return torch.nn.functional.normalize(frames_TCHW.float().mean((2, 3)), dim=-1)
        >>> frames = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
        >>> frames[:2, 0, 4:] = frames[2, 1, 4:] = 255  # red, red, green below black
        >>> metric = TemporalConsistency(Colour())
        >>> metric.update(frames, index=[0])
        >>> round(metric.compute().item(), 6)
        0.5
    """

    columns = ("temporal_consistency",)

    def of_features(self, features_TD: Tensor) -> Tensor:
        return temporal_consistency(features_TD)


class BackgroundConsistency(FeatureMetric):
    """:func:`consistency` of CLIP ViT-B/32 features, in [0, 1]; no background is cut out."""

    columns = ("background_consistency",)

    def of_features(self, features_TD: Tensor) -> Tensor:
        return consistency(features_TD)


class SubjectConsistency(BackgroundConsistency):
    """:func:`consistency` of DINO ViT-B/16 features (:class:`fastvmt.score.subject.DinoEncoder`), in [0, 1]."""

    columns = ("subject_consistency",)


class DinoConsistency(FeatureMetric):
    """:func:`det_consistency` of DINO ViT-B/16 features, in [-1, 1]: DeT's temporal consistency."""

    def __init__(self, encoder: ImageEncoder, include_self: bool = False, **kwargs: Any) -> None:
        super().__init__(encoder, **kwargs)
        self.include_self = include_self
        self.columns = ("temporal_consistency_dino_self" if include_self else "temporal_consistency_dino",)

    def of_features(self, features_TD: Tensor) -> Tensor:
        return det_consistency(features_TD, self.include_self)


@score(
    "temporal_consistency",
    definition="mean cosine of CLIP embeddings of neighbouring frames",
    source="Esser et al., 2023",
    range="-1..1",
    limits=FROZEN,
    weights=(CLIP,),
    head="temporal",
)
def temporal(networks: Networks) -> TemporalConsistency:
    return TemporalConsistency(networks.clip)


@score(
    "background_consistency",
    definition="mean of clamped cosines of CLIP features with the first and the previous frame",
    source="VBench (Huang et al., 2024)",
    range="0..1",
    limits=f"{FROZEN}; no background is cut out",
    weights=(CLIP,),
    pooled=True,
)
def background(networks: Networks) -> BackgroundConsistency:
    return BackgroundConsistency(networks.as_vbench(networks.clip))


@score(
    "subject_consistency",
    definition="mean of clamped cosines of DINO features with the first and the previous frame",
    source="VBench (Huang et al., 2024)",
    range="0..1",
    limits=FROZEN,
    weights=(DINO,),
    pooled=True,
)
def subject(networks: Networks) -> SubjectConsistency:
    return SubjectConsistency(networks.dino)


@score(
    "temporal_consistency_dino",
    definition="mean cosine of DINO features with the first and the previous frame",
    source=DET,
    range="-1..1",
    limits=FROZEN,
    weights=(DINO,),
)
def dino(networks: Networks) -> DinoConsistency:
    return DinoConsistency(networks.dino)


@score(
    "temporal_consistency_dino_self",
    definition="temporal_consistency_dino with frame 0 compared with itself",
    source=f"code released with {DET}",
    range="-1..1",
    limits=FROZEN,
    weights=(DINO,),
)
def dino_with_self(networks: Networks) -> DinoConsistency:
    return DinoConsistency(networks.dino, include_self=True)
