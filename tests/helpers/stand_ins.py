"""Networks and a tracker with known answers, and every metric built on them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

import fastvmt.torchvision_ops  # noqa: F401  before torchmetrics, which imports torchvision
from fastvmt.score.aesthetic import AestheticQuality
from fastvmt.score.consistency import (
    BackgroundConsistency,
    DinoConsistency,
    SubjectConsistency,
    TemporalConsistency,
)
from fastvmt.score.dense_flow import DisFlow
from fastvmt.score.dynamic import DynamicDegree
from fastvmt.score.flicker import TemporalFlickering
from fastvmt.score.metric import ScoreMetric
from fastvmt.score.motion_fidelity import MODES, MotionFidelity
from fastvmt.score.networks import Networks
from fastvmt.score.scores import Scores
from fastvmt.score.similarity import TextSimilarity
from fastvmt.score.smoothness import DisInterpolator, MotionSmoothness
from fastvmt.score.track_distance import KINDS, TrackDistance
from fastvmt.trackers.base import Tracks, check_queries
from fastvmt.types import Video

HEAD = (torch.tensor([4.0, 1.0, 2.0]), 1.0)
PROMPT = "red roses"


class Colours:
    """Frames embed as their mean colour, prompts as red; ``gain`` scales the frames' rows."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain
        self.provenance = {"id": "colours"}

    def encode_images(self, frames_TCHW: Tensor) -> Tensor:
        return self.gain * normalize(frames_TCHW.float().mean((2, 3)), dim=-1)

    def encode_text(self, prompts: list[str]) -> Tensor:
        return torch.eye(3)[:1].expand(len(prompts), -1)

    def truncates(self, prompt: str) -> bool:
        return len(prompt.split()) > 75


class Before:
    """Says that the frame between is the one before."""

    provenance = {"id": "before"}

    def between(self, frames_THWC: Tensor) -> Tensor:
        return frames_THWC[:-1]


class Rightwards:
    """Every pixel moves to the right by as much as the frame's first value."""

    provenance = {"id": "rightwards"}

    def forward_flow(self, frames_THWC: Tensor) -> list[np.ndarray]:
        still = np.zeros((*frames_THWC.shape[1:3], 2), np.float32)
        return [still + np.array([frame[0, 0, 0], 0], np.float32) for frame in frames_THWC[:-1]]


class Drift:
    """A tracker whose points move by a constant that depends on the clip, or are not numbers at all."""

    id = "drift"

    def __init__(self, unknown: bool = False) -> None:
        self.unknown = unknown

    def track(self, frames_THWC: Tensor, queries_N3: Tensor) -> Tracks:
        check_queries(frames_THWC, queries_N3)
        time = torch.arange(float(len(frames_THWC)))
        angle = frames_THWC.float().mean() / 20 + queries_N3[:, 1] / 50
        step = torch.stack([angle.cos(), angle.sin()], -1)
        points = queries_N3[:, None, 1:] + (time - queries_N3[:, :1])[..., None] * step[:, None]
        points = torch.full_like(points, math.nan) if self.unknown else points
        return Tracks(points, torch.ones(points.shape[:2], dtype=torch.bool))


def pan(step: int, seed: int = 0, frames: int = 9) -> Video:
    """A camera over coloured noise, ``step`` pixels a frame; the colours drift a little."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 9, 9 + frames, generator=g)
    canvas = interpolate(coarse, (64, 64 + 8 * frames), mode="bicubic").clamp(0, 1)[0]
    views = [canvas[:, :, t * step : t * step + 64] * (1 - 0.02 * t) for t in range(frames)]
    return Video((255 * torch.stack(views)).byte().permute(0, 2, 3, 1).contiguous(), 8.0, f"pan {step}")


VIDEOS = [pan(2), pan(0, 1), pan(5, 2, frames=7), pan(3, 3)]
LONG = "red " * 76
"""More than ``Colours`` reads."""
OTHER = pan(2, 7)

METRICS: dict[str, Callable[[], ScoreMetric]] = {
    "motion_fidelity": lambda: MotionFidelity(Drift()),
    **{f"motion_fidelity_{mode}": lambda mode=mode: MotionFidelity(Drift(), mode) for mode in MODES[1:]},
    **{kind: lambda kind=kind: TrackDistance(Drift(), kind) for kind in KINDS},
    "text_similarity": lambda: TextSimilarity(Colours()),
    "text_similarity_l14": lambda: TextSimilarity(Colours(2.0), suffix="_l14"),
    "temporal_consistency": lambda: TemporalConsistency(Colours()),
    "background_consistency": lambda: BackgroundConsistency(Colours()),
    "subject_consistency": lambda: SubjectConsistency(Colours(3.0)),
    "temporal_consistency_dino": lambda: DinoConsistency(Colours(3.0)),
    "temporal_consistency_dino_self": lambda: DinoConsistency(Colours(3.0), include_self=True),
    "aesthetic_quality": lambda: AestheticQuality(Colours(2.0), HEAD),
    "motion_smoothness": lambda: MotionSmoothness(Before()),
    "motion_smoothness_flow": lambda: MotionSmoothness(DisInterpolator(), "_flow"),
    "dynamic_degree": lambda: DynamicDegree(Rightwards()),
    "dynamic_degree_flow": lambda: DynamicDegree(DisFlow(), "_flow"),
    "temporal_flickering": TemporalFlickering,
}
"""A metric per score, on stand-in networks; trajectories are measured, not averaged from a formula."""


def scored(metric: ScoreMetric, videos: list[Video], index: list[int], prompt: str = PROMPT) -> ScoreMetric:
    """The metric after one update."""
    references = [Video(OTHER.frames_THWC[: video.size[0]], 8.0) for video in videos]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric.update(videos, index, references=references, prompts=[prompt] * len(videos))
    return metric


def judged(monkeypatch: pytest.MonkeyPatch, folder: Path, names: list[str], **more: Any) -> Scores:
    """``Scores`` on the stand-ins of ``METRICS``; the aesthetic head is a file in ``folder``."""
    networks = {"clip": Colours(), "clip_l14": Colours(2.0), "dino": Colours(3.0), "amt": Before()}
    for name, network in (networks | {"raft": Rightwards()}).items():
        monkeypatch.setattr(Networks, name, network)
    torch.save({"weight": HEAD[0][None], "bias": torch.tensor([HEAD[1]])}, folder / "head.pth")
    return Scores(Drift(), names, {}, {"aesthetic": str(folder / "head.pth")}, **more)
