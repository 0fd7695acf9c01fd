"""Whether subject and background stay what they were: VBench's two consistency scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from fastvmt.score.encoder import ImageEncoder
from fastvmt.score.per_video import VideoMetric
from fastvmt.score.similarity import embed_frames
from fastvmt.types import Video


def consistency(features_TD: Tensor) -> Tensor:
    """Mean over t >= 1 of (max(0, <f_t-1, f_t>) + max(0, <f_0, f_t>)) / 2 with unit f; a scalar in [0, 1].

    VBench (Huang et al., 2024), subject and background consistency. A frozen video scores 1. Raises
    ``ValueError`` for fewer than two frames.

    Example:
        >>> x, y = torch.eye(2)
        >>> consistency(torch.stack([x, y, y])).item()  # frame 1: (0 + 0) / 2, frame 2: (1 + 0) / 2
        0.25
    """
    if len(features_TD) < 2:
        raise ValueError(f"consistency needs at least 2 frames, got {len(features_TD)}")
    f = features_TD.double()
    previous, first = cosine_similarity(f[1:], f[:-1], dim=-1), cosine_similarity(f[1:], f[:1], dim=-1)
    return ((previous.clamp_min(0) + first.clamp_min(0)) / 2).mean()


def det_consistency(features_TD: Tensor, include_self: bool = False) -> Tensor:
    """Mean over frames of the mean cosine with the first and the previous frame; a scalar in [-1, 1].

    ``include_self`` also counts frame 0, compared with itself, as the code released with DeT (Shi et al., 2025): it
    raises the score by (1 - score) / T.

    Example:
        >>> x, y = torch.eye(2)
        >>> det_consistency(torch.stack([x, -x])).item(), det_consistency(torch.stack([x, -x]), True).item()
        (-1.0, 0.0)
    """
    if len(features_TD) < 2:
        raise ValueError(f"consistency needs at least 2 frames, got {len(features_TD)}")
    f = features_TD.double()
    previous, first = cosine_similarity(f[1:], f[:-1], dim=-1), cosine_similarity(f[1:], f[:1], dim=-1)
    rest = (previous + first) / 2
    return torch.cat([torch.ones_like(rest[:1]), rest]).mean() if include_self else rest.mean()


class BackgroundConsistency(VideoMetric):
    """:func:`consistency` of CLIP ViT-B/32 features; no background is cut out. In [0, 1], frozen videos score 1.

    ``pool="frames"`` averages over the frames of all videos, as VBench does in one process.

    Example:
        >>> metric = BackgroundConsistency(encoder=None, pool="frames")
        >>> metric.record([1.0, 0.4], index=[0, 1], weights=[1, 2])  # videos of 2 and of 3 frames
        >>> round(metric.compute().item(), 6)
        0.6
    """

    def __init__(self, encoder: ImageEncoder | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder

    def score(self, video: Video) -> float:
        if self.encoder is None:
            raise ValueError(f"this {type(self).__name__} only records scores: give it an encoder to score videos")
        return float(self.of_features(embed_frames(video, self.encoder)))

    def of_features(self, features_TD: Tensor) -> Tensor:
        """The score of a video's features."""
        return consistency(features_TD)


class SubjectConsistency(BackgroundConsistency):
    """:func:`consistency` of DINO ViT-B/16 features (:class:`fastvmt.score.subject.DinoEncoder`).

    Example:
        >>> metric = SubjectConsistency(encoder=None)
        >>> metric.record([1.0, 0.4], index=[0, 1])
        >>> round(metric.compute().item(), 6)
        0.7
    """


class DinoConsistency(BackgroundConsistency):
    """:func:`det_consistency` of DINO ViT-B/16 features: DeT's temporal consistency.

    Example:
        >>> metric = DinoConsistency(encoder=None, include_self=True)
        >>> metric.record([0.9, 0.5], index=[0, 1])
        >>> round(metric.compute().item(), 6)
        0.7
    """

    def __init__(self, encoder: ImageEncoder | None, include_self: bool = False, **kwargs: Any) -> None:
        super().__init__(encoder, **kwargs)
        self.include_self = include_self

    def of_features(self, features_TD: Tensor) -> Tensor:
        return det_consistency(features_TD, self.include_self)
