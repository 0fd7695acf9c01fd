"""CLIP scores over a benchmark: fit to the prompt, and steadiness over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fastvmt.metrics.encoder import FrameEncoder
from fastvmt.metrics.functional import temporal_consistency, text_similarity
from fastvmt.metrics.per_video import PerVideoMetric
from fastvmt.types import Video


def embed_frames(video: Video, encoder: FrameEncoder) -> Tensor:
    """(T, D) embeddings of all frames: compute them once for both scores."""
    return encoder.encode_images(video.frames_THWC.permute(0, 3, 1, 2))


class TextSimilarity(PerVideoMetric):
    """Mean cosine between frames and prompt (raw, not times 100); an empty prompt has no score."""

    def __init__(self, encoder: FrameEncoder, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder

    def update(self, videos: Sequence[Video], prompts: Sequence[str], index: Sequence[int]) -> None:
        """Score videos against the prompts that they were generated from."""
        pairs = list(zip(videos, prompts, strict=True))
        self.record([self.score(video, prompt) for video, prompt in pairs], index)

    def score(self, video: Video, prompt: str) -> float:
        """The score of one video; NaN for an empty prompt."""
        if not prompt.strip():
            return math.nan
        return float(text_similarity(embed_frames(video, self.encoder), self.encoder.encode_text([prompt])[0]))


class TemporalConsistency(PerVideoMetric):
    """Mean cosine between neighbouring frames; a frozen video scores 1, so read it beside a speed."""

    def __init__(self, encoder: FrameEncoder, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder

    def update(self, videos: Sequence[Video], index: Sequence[int]) -> None:
        """Score videos of at least two frames."""
        self.record([self.score(video) for video in videos], index)

    def score(self, video: Video) -> float:
        return float(temporal_consistency(embed_frames(video, self.encoder)))
