"""Dynamic degree: does anything in the video move?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvmt.score.dense_flow import DisFlow, FlowModel
from fastvmt.score.per_video import VideoMetric, need_frames
from fastvmt.types import Video

LEAST_FRAMES = 4
"""With fewer sampled frames the rule would ask for no moving pair at all."""


@dataclass(frozen=True)
class Dynamics:
    """How much a video moves."""

    moves: float
    """1 if it moves, 0 if not; NaN when undefined."""
    speed: float
    """Mean over pairs of the fastest pixels' displacement, pixels per sampled pair."""


def fastest(flow_HW2: NDArray[np.float32]) -> float:
    """Mean length of the longest 5 % of flow vectors.

    Example:
        >>> flow = np.zeros((10, 10, 2), np.float32)
        >>> flow[0, :4] = 3, 4  # 4 of the 5 longest have length 5
        >>> fastest(flow)
        4.0
    """
    lengths = np.sort(np.linalg.norm(flow_HW2.astype(np.float64), axis=-1).ravel())
    return float(lengths[-max(1, int(0.05 * lengths.size)) :].mean())


def dynamic_degree(speeds_P: list[float], side: int) -> Dynamics:
    """VBench's rule (Huang et al., 2024) over the P pairs of n = P + 1 sampled frames.

    A video moves if at least round(4 n / 16) pairs (half to even) are faster than 6 side / 256 pixels,
    with ``side`` the shorter side of a frame; in {0, 1}. NaN for n < 4 and for speeds that are NaN.

    Example:
        >>> dynamic_degree([7.0, 2.0, 8.0, 7.0, 0.0, 0.0, 0.0], side=256).moves  # 8 frames: 2 pairs suffice
        1.0
    """
    frames = len(speeds_P) + 1
    if frames < LEAST_FRAMES or math.isnan(sum(speeds_P)):
        return Dynamics(math.nan, math.nan)
    fast = sum(speed > 6 * side / 256 for speed in speeds_P)
    return Dynamics(float(fast >= round(4 * frames / 16)), float(np.mean(speeds_P)))


def video_dynamics(video: Video, flow: FlowModel) -> Dynamics:
    """:func:`dynamic_degree` (Huang et al., 2024) of a video sampled at about 8 frames per second.

    ``moves`` has the range {0, 1}, ``speed`` is at least 0. The video's stated rate decides what is sampled.

    Example:
        >>> video_dynamics(Video(torch.zeros(9, 96, 96, 3, dtype=torch.uint8), fps=8), DisFlow())
        Dynamics(moves=0.0, speed=0.0)
    """
    need_frames(video, 2, "dynamic degree")
    if not video.fps > 0:
        raise ValueError(f"dynamic degree samples 8 frames a second, fps={video.fps}: give update(..., fps=<rate>)")
    frames = video.frames_THWC[:: max(1, round(video.fps / 8))]
    fields = flow.forward_flow(frames) if len(frames) >= LEAST_FRAMES else None
    return dynamic_degree([fastest(field) for field in fields or []], min(video.size[1:]))


class DynamicDegree(VideoMetric):
    """Share of videos that move; needs :class:`fastvmt.score.dense_flow.RaftFlow`.

    Example:
        >>> metric = DynamicDegree(flow=None)
        >>> metric.record([1.0, 0.0, 1.0, 1.0], index=[0, 1, 2, 3])
        >>> metric.compute().item()
        0.75
    """

    def __init__(self, flow: FlowModel | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flow = flow

    def score(self, video: Video) -> float:
        if self.flow is None:
            raise ValueError("this DynamicDegree only records scores: give it a flow model to score videos")
        return video_dynamics(video, self.flow).moves


class DynamicDegreeFlow(DynamicDegree):
    """The same rule with DIS flow, for machines without RAFT: not comparable with published numbers.

    Example:
        >>> import torch
        >>> DynamicDegreeFlow().score(Video(torch.zeros(9, 96, 96, 3, dtype=torch.uint8), fps=8))
        0.0
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(DisFlow(), **kwargs)
