"""Temporal flickering: how much pixels change from frame to frame."""

from __future__ import annotations

from torch import Tensor

from fastvmt.score.per_video import VideoMetric, need_frames
from fastvmt.score.preprocess import check_frames
from fastvmt.types import Video


def temporal_flickering(frames_TCHW: Tensor) -> float:
    """(255 - mean |I_t+1 - I_t|) / 255 over all pixels, channels and pairs; in [0, 1], a frozen video scores 1.

    VBench (Huang et al., 2024), temporal flickering. Motion lowers it like flicker does: it is meant
    for static scenes. Raises ``ValueError`` unless it gets uint8 (T, 3, H, W) with T >= 2.

    Example:
        >>> import torch
        >>> temporal_flickering(torch.tensor([0, 51, 51], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 4, 4))
        0.9
    """
    check_frames(frames_TCHW, 2)
    frames = frames_TCHW.float()
    pairs = zip(frames[:-1], frames[1:], strict=True)
    errors = [float((after - before).abs().double().mean()) for before, after in pairs]
    return (255 - sum(errors) / len(errors)) / 255


class TemporalFlickering(VideoMetric):
    """:func:`temporal_flickering` of videos of at least two frames.

    Example:
        >>> import torch
        >>> metric = TemporalFlickering()
        >>> metric.update([Video(torch.zeros(2, 4, 4, 3, dtype=torch.uint8), fps=8)], index=[0])
        >>> metric.compute().item()
        1.0
    """

    def score(self, video: Video) -> float:
        need_frames(video, 2, "temporal flickering")
        return temporal_flickering(video.frames_THWC.permute(0, 3, 1, 2))
