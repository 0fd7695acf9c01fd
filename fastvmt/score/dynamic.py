"""Dynamic degree: does anything in the video move?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastvmt.score.dense_flow import RAFT, DisFlow, FlowModel
from fastvmt.score.metric import ScoreMetric, need_frames
from fastvmt.score.networks import Networks
from fastvmt.score.registry import score
from fastvmt.score.sample import Sample
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


class DynamicDegree(ScoreMetric):
    """:func:`video_dynamics`; the mean is the share of videos that move. Needs :class:`RaftFlow` of ``dense_flow``.

    With :class:`DisFlow`, for machines without RAFT, the same rule does not compare with published numbers.
    ``suffix`` ends the columns' names.

    Example:
        >>> still = torch.arange(192, dtype=torch.uint8).view(1, 3, 8, 8).expand(9, -1, -1, -1)
        >>> metric = DynamicDegree(DisFlow())
        >>> metric.update(still, index=[0], fps=8)
        >>> metric.compute().item()
        0.0
    """

    higher_is_better = None

    def __init__(self, flow: FlowModel, suffix: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flow = flow
        self.columns = columns_of(suffix)

    @property
    def source(self) -> dict[str, Any]:
        return dict(self.flow.provenance)

    def measure(self, sample: Sample) -> dict[str, float]:
        found = video_dynamics(sample.video, self.flow)
        return dict(zip(self.columns, (found.moves, found.speed), strict=True))


def columns_of(suffix: str = "") -> tuple[str, ...]:
    """Whether the video moves, and the speed of its fastest pixels."""
    return f"dynamic_degree{suffix}", f"dynamic_degree{suffix}_speed"


@score(
    "dynamic_degree",
    definition="1 if round(n / 4) pairs of n sampled frames move by 6 side / 256 pixels in their fastest 5 %; "
    "_speed: the mean of that",
    source="VBench (Huang et al., 2024)",
    range="0 or 1; speed >= 0",
    limits="the stated frame rate is wrong; n/a below 4 sampled frames or 128 pixels",
    direction="none",
    weights=(RAFT,),
    columns=columns_of(),
)
def raft(networks: Networks) -> DynamicDegree:
    return DynamicDegree(networks.raft)


@score(
    "dynamic_degree_flow",
    definition="dynamic_degree with DIS flow",
    source="VBench (Huang et al., 2024)",
    range="0 or 1; speed >= 0",
    limits="not comparable with VBench's column",
    direction="none",
    columns=columns_of("_flow"),
)
def dis(networks: Networks) -> DynamicDegree:
    return DynamicDegree(DisFlow(), "_flow")
