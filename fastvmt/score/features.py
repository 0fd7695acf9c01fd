"""Scores of the embeddings of a video's frames."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor
from torch.nn.functional import cosine_similarity

from fastvmt.score.encoder import ImageEncoder
from fastvmt.score.metric import VideoMetric, need_frames
from fastvmt.types import Video


def embed_frames(video: Video, encoder: ImageEncoder) -> Tensor:
    """(T, D) embeddings of all frames, of which there must be two."""
    need_frames(video, 2, "a score of embeddings")
    return encoder.encode_images(video.frames_THWC.permute(0, 3, 1, 2))


def cosines(features_TD: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines (T-1,) of every frame after the first with the one before it and with the first, float64.

    Raises ``ValueError`` for fewer than two frames.
    """
    if len(features_TD) < 2:
        raise ValueError(f"consistency needs at least 2 frames, got {len(features_TD)}")
    f = features_TD.double()
    return cosine_similarity(f[1:], f[:-1], dim=-1), cosine_similarity(f[1:], f[:1], dim=-1)


class FeatureMetric(VideoMetric):
    """A score of the frames' features by one encoder."""

    def __init__(self, encoder: ImageEncoder, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder

    @property
    def source(self) -> dict[str, Any]:
        return dict(self.encoder.provenance)

    def value(self, video: Video) -> float:
        return float(self.of_features(embed_frames(video, self.encoder)))

    @abstractmethod
    def of_features(self, features_TD: Tensor) -> Tensor:
        """The score, a scalar, of the features of T frames."""
