"""CLIP scores over a benchmark: fit to the prompt, and steadiness over time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastvmt.score.encoder import FrameEncoder, ImageEncoder
from fastvmt.score.functional import temporal_consistency, text_similarity
from fastvmt.score.per_video import PerVideoMetric, VideoMetric, Videos, as_videos, need_frames
from fastvmt.types import Video


def embed_frames(video: Video, encoder: ImageEncoder) -> Tensor:
    """(T, D) embeddings of all frames, of which there must be two."""
    need_frames(video, 2, "a score of embeddings")
    return encoder.encode_images(video.frames_THWC.permute(0, 3, 1, 2))


class TextSimilarity(PerVideoMetric):
    """Mean cosine between frames and prompt; an empty prompt has no score.

    ``scale`` multiplies it: 1 is the raw cosine (about 0.2 to 0.35 with OpenAI's CLIP), 100 that of
    CLIPScore-like tables. Cosines of different encoders are not comparable.

    Example:
        >>> metric = TextSimilarity(encoder=None, scale=100)
        >>> metric.record([31.0, 29.0], index=[0, 1])  # scores of two videos
        >>> metric.compute().item()
        30.0
    """

    n_truncated: Tensor
    """Prompts that the encoder could not read to their end, repeats included."""

    def __init__(self, encoder: FrameEncoder | None, scale: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not scale > 0:
            raise ValueError(f"metrics.clip.scale={scale} must be above 0: 1 for cosines, 100 for percent")
        self.encoder, self.scale = encoder, scale
        self.add_state("n_truncated", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, videos: Videos, prompts: Sequence[str], index: Sequence[int]) -> None:
        """Score videos against the prompts that they were generated from."""
        pairs = list(zip(as_videos(videos), prompts, strict=True))
        self.record([self.score(video, prompt) for video, prompt in pairs], index)
        self.n_truncated += sum(self.truncated(prompt) for prompt in prompts)

    def truncated(self, prompt: str) -> bool:
        """Whether the prompt is longer than the encoder reads; warns if so."""
        cut = self._encoder().truncates(prompt)
        if cut:
            warnings.warn(f"the text score reads only the start of a long prompt: {prompt[:60]!r}...", stacklevel=2)
        return cut

    def score(self, video: Video, prompt: str) -> float:
        """The score of one video; NaN for an empty prompt."""
        if not prompt.strip():
            return math.nan
        if not video.frames_THWC.any():
            warnings.warn(f"{video.name or 'a video'} is all black: its text score means little", stacklevel=2)
        encoder = self._encoder()
        return self.scale * float(text_similarity(embed_frames(video, encoder), encoder.encode_text([prompt])[0]))

    def _encoder(self) -> FrameEncoder:
        if self.encoder is None:
            raise ValueError("this TextSimilarity only records scores: give it an encoder to score videos")
        return self.encoder


class TemporalConsistency(VideoMetric):
    """Mean cosine between neighbouring frames, in [-1, 1]; a frozen video scores 1, so read it beside a speed.

    Example:
        >>> class Colour:
        ...     def encode_images(self, frames_TCHW):
        ...         return torch.nn.functional.normalize(frames_TCHW.float().mean((2, 3)), dim=-1)
        >>> frames = torch.zeros(3, 8, 8, 3, dtype=torch.uint8)
        >>> frames[:2, ..., 0] = frames[2, ..., 1] = 255  # red, red, green
        >>> round(TemporalConsistency(Colour()).score(Video(frames, fps=8)), 6)
        0.5
    """

    def __init__(self, encoder: ImageEncoder, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder

    def score(self, video: Video) -> float:
        return float(temporal_consistency(embed_frames(video, self.encoder)))
