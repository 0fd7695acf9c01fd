"""Temporal flickering: how much pixels change from frame to frame."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fastvmt.score.metric import VideoMetric, need_frames
from fastvmt.score.networks import Networks
from fastvmt.score.preprocess import check_frames
from fastvmt.score.registry import score
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
    """:func:`temporal_flickering` of videos of at least two frames, in [0, 1].

    Example:
        >>> import torch
        >>> still = torch.arange(48, dtype=torch.uint8).view(1, 3, 4, 4).expand(2, -1, -1, -1)
        >>> metric = TemporalFlickering()
        >>> metric.update(still, index=[0])
        >>> metric.compute().item()
        1.0
    """

    columns = ("temporal_flickering",)

    @property
    def source(self) -> dict[str, Any]:
        return {"precision": "float32"}

    def value(self, video: Video) -> float:
        need_frames(video, 2, "temporal flickering")
        return temporal_flickering(video.frames_THWC.permute(0, 3, 1, 2))


@score(
    "temporal_flickering",
    definition="1 - mean change of a pixel / 255",
    source="VBench (Huang et al., 2024)",
    range="0..1",
    limits="anything moves: motion lowers it as flicker does",
)
def flicker(networks: Networks) -> TemporalFlickering:
    return TemporalFlickering()
