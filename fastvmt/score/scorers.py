"""Every score that a configuration can ask for, by name: what it needs, which columns it writes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from fastvmt.score.aesthetic import AestheticQuality
from fastvmt.score.consistency import BackgroundConsistency, DinoConsistency, SubjectConsistency
from fastvmt.score.dense_flow import DisFlow, FlowModel
from fastvmt.score.dynamic import video_dynamics
from fastvmt.score.encoder import RememberingEncoder
from fastvmt.score.flicker import TemporalFlickering
from fastvmt.score.functional import STATIC
from fastvmt.score.judges import Judges
from fastvmt.score.motion_fidelity import (
    GRID,
    JITTER,
    MODES,
    PUBLISHED,
    MotionFidelity,
    score_motion,
    score_true_motion,
)
from fastvmt.score.per_video import VideoMetric
from fastvmt.score.similarity import TemporalConsistency, TextSimilarity
from fastvmt.score.smoothness import DisInterpolator, MotionSmoothness
from fastvmt.score.weights import locate
from fastvmt.trackers.base import Tracker
from fastvmt.types import Truth, Video
from fastvmt.world.scene import sprite
from fastvmt.world.trajectory import trajectory_cosine
from fastvmt.world.vocabulary import OBJECTS, named

SURE_OBJECT, SURE_CAMERA = 0.7, 0.6
"""Confidence from which a measured trajectory is believed; below it the cosine is NaN.

For objects it is the fit of the sprite. Measured on 24 clips of 9 frames: clean ones have at least 0.90,
pale, blurred and noisy ones at least 0.79 and cosines near 1; objects smeared over 12 pixels reach 0.59,
most keep 0.75 and are followed still (median cosine 0.98 where centres move), but one was lost at 0.64
(cosine -0.7); where the object is absent the median is 0.34 and one of 24 exceeds 0.7; noise has at most
0.25. For cameras it is the share of tracks that agree, in 12 clips: at least 0.98 when pale, blurred and noisy,
at least 0.68 when noised to a level of 0.7 and redrawn by tiny-wan (least cosine 0.69, median 0.99), at most 0.58
in noise. A high fit does not prove that an articulated object has a shape: as a blob it still fits by 0.9, and
its cosine falls. ``experiments/trajectory_gate.py`` repeats the measurement.
"""


@dataclass(frozen=True)
class Sample:
    """A video to score and what is known about it."""

    video: Video
    reference: Video | None
    """The clip whose motion it should follow, as the generator saw it, of the same frame size; the longer of the
    two is cut. None: no motion fidelity."""
    prompt: str
    truth: Truth | None = None
    """The reference's true motion, for generated worlds, and with it the world's ``category``; None: no trajectory."""
    category: str = ""
    foreground_THW: Tensor | None = None
    """Where the reference's moving subject is, bool; None: no fidelity to it."""


@dataclass(frozen=True)
class Scorer:
    """One entry of ``metrics.names``, ready to run."""

    score: Callable[[Sample], dict[str, float]]
    source: dict[str, Any]
    """What computes it: encoder or tracker, hash of its weights, mode."""


def motion(judges: Judges, tracker: Tracker) -> Scorer:
    """Motion fidelity against the reference and the numbers needed to read it."""

    def score(sample: Sample) -> dict[str, float]:
        video, reference, mask = sample.video, sample.reference, sample.foreground_THW
        if reference is None:
            return dict.fromkeys(COLUMNS["motion_fidelity"], math.nan)
        found = score_motion(video, reference, tracker)
        masked = math.nan if mask is None else score_motion(video, reference, tracker, foreground_THW=mask).fidelity
        known = None if sample.truth is None else score_true_motion(video, sample.truth, tracker)
        return {
            "motion_fidelity": found.fidelity,
            "motion_fidelity_dynamic": found.dynamic,
            "motion_fidelity_foreground": masked,
            "motion_fidelity_true": math.nan if known is None else known.fidelity,
            "motion_fidelity_dynamic_true": math.nan if known is None else known.dynamic,
            "static_fraction": found.static_generated,
            "static_fraction_reference": found.static_reference,
            "speed": found.speed_generated,
            "speed_reference": found.speed_reference,
            "coverage": found.coverage_generated,
            "coverage_reference": found.coverage_reference,
            "low_coverage": float(found.low_coverage),
            "low_texture": float(found.low_texture),
        }

    return Scorer(score, motion_source("robust", tracker))


def motion_source(mode: str, tracker: Tracker) -> dict[str, Any]:
    """The provenance of one form of motion fidelity."""
    side = PUBLISHED.get(mode)
    points = f"{side} x {side} of frame 0" if side else f"textured ones of {GRID} x {GRID}, of three frames"
    rule = {} if side else {"static_step": f"below {STATIC:g} diagonals or {JITTER:g} pixels"}
    return {"mode": mode, "tracker": tracker.id, "points": points, **rule}


def motion_as(mode: str) -> Builder:
    """Another form of motion fidelity, in a column of its own."""
    column = f"motion_fidelity_{mode}"

    def build(judges: Judges, tracker: Tracker) -> Scorer:
        metric = MotionFidelity(tracker, mode)

        def score(sample: Sample) -> dict[str, float]:
            reference = sample.reference
            return {column: math.nan if reference is None else metric.score(sample.video, reference)[0]}

        return Scorer(score, motion_source(mode, tracker))

    return build


def trajectory(judges: Judges, tracker: Tracker) -> Scorer:
    """Cosine with the true trajectory, NaN where it is unknown or was measured with too little confidence."""

    def score(sample: Sample) -> dict[str, float]:
        if sample.truth is None:
            return dict.fromkeys(COLUMNS["trajectory"], math.nan)
        sprites = [sprite(name) for name in named(sample.prompt, OBJECTS)]
        found = trajectory_cosine(sample.video, sample.truth, sample.category, sprites, tracker)
        sure = found.confidence >= (SURE_CAMERA if sample.category == "camera" else SURE_OBJECT)
        return {"trajectory_cosine": found.cosine if sure else math.nan, "trajectory_confidence": found.confidence}

    mode = f"confidence >= {SURE_OBJECT} (objects), {SURE_CAMERA} (camera)"
    return Scorer(score, {"mode": mode, "tracker": tracker.id})


def text(encoder: RememberingEncoder, scale: float, suffix: str = "") -> Scorer:
    """Fit to the prompt, and whether the prompt was too long to be read to its end."""
    metric = TextSimilarity(encoder, scale)

    def score(sample: Sample) -> dict[str, float]:
        value, cut = metric.score(sample.video, sample.prompt), metric.truncated(sample.prompt)
        return {f"text_similarity{suffix}": value, f"prompt_truncated{suffix}": float(cut)}

    return Scorer(score, {**encoder.provenance, "scale": scale})


def of_video(column: str, kind: Callable[[Any], VideoMetric], judge: Any, **more: str) -> Scorer:
    """A score of the video alone, by a metric that takes one network; ``more`` provenance."""
    metric = kind(judge)
    return Scorer(lambda sample: {column: metric.score(sample.video)}, {**judge.provenance, **more})


def background(judges: Judges, tracker: Tracker) -> Scorer:
    return of_video("background_consistency", BackgroundConsistency, judges.as_vbench(judges.clip))


def aesthetic(judges: Judges, tracker: Tracker) -> Scorer:
    clip, kind = judges.as_vbench(judges.clip_l14), partial(AestheticQuality, head=judges.head)
    sha256 = locate("aesthetic", judges.weights.get("aesthetic")).sha256
    return of_video("aesthetic_quality", kind, clip, head="LAION linear, ViT-L/14", head_sha256=sha256)


def flickering(judges: Judges, tracker: Tracker) -> Scorer:
    metric = TemporalFlickering()
    return Scorer(lambda sample: {"temporal_flickering": metric.score(sample.video)}, {"precision": "float32"})


def dynamics(column: str, flow: FlowModel) -> Scorer:
    """Whether the video moves, and the speed of its fastest pixels."""

    def score(sample: Sample) -> dict[str, float]:
        found = video_dynamics(sample.video, flow)
        return {column: found.moves, f"{column}_speed": found.speed}

    return Scorer(score, flow.provenance)


Builder = Callable[[Judges, Tracker], Scorer]

BUILDERS: dict[str, Builder] = {
    "motion_fidelity": motion,
    **{f"motion_fidelity_{mode}": motion_as(mode) for mode in MODES if mode not in ("robust", "dynamic")},
    "trajectory": trajectory,
    "text_similarity": lambda judges, _: text(judges.clip, judges.scale),
    "text_similarity_l14": lambda judges, _: text(judges.clip_l14, judges.scale, "_l14"),
    "temporal_consistency": lambda judges, _: of_video("temporal_consistency", TemporalConsistency, judges.clip),
    "background_consistency": background,
    "subject_consistency": lambda judges, _: of_video("subject_consistency", SubjectConsistency, judges.dino),
    "temporal_consistency_dino": lambda judges, _: of_video("temporal_consistency_dino", DinoConsistency, judges.dino),
    "temporal_consistency_dino_self": lambda judges, _: of_video(
        "temporal_consistency_dino_self", partial(DinoConsistency, include_self=True), judges.dino
    ),
    "aesthetic_quality": aesthetic,
    "motion_smoothness": lambda judges, _: of_video("motion_smoothness", MotionSmoothness, judges.amt),
    "motion_smoothness_flow": lambda *_: of_video("motion_smoothness_flow", MotionSmoothness, DisInterpolator()),
    "dynamic_degree": lambda judges, _: dynamics("dynamic_degree", judges.raft),
    "dynamic_degree_flow": lambda *_: dynamics("dynamic_degree_flow", DisFlow()),
    "temporal_flickering": flickering,
}
"""By name; they raise ``MissingWeightsError`` for files that are not there."""
COLUMNS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in BUILDERS},
    "motion_fidelity": (
        "motion_fidelity",
        "motion_fidelity_dynamic",
        "motion_fidelity_foreground",
        "motion_fidelity_true",
        "motion_fidelity_dynamic_true",
        "static_fraction",
        "static_fraction_reference",
        "speed",
        "speed_reference",
        "coverage",
        "coverage_reference",
        "low_coverage",
        "low_texture",
    ),
    "trajectory": ("trajectory_cosine", "trajectory_confidence"),
    "text_similarity": ("text_similarity", "prompt_truncated"),
    "text_similarity_l14": ("text_similarity_l14", "prompt_truncated_l14"),
    "dynamic_degree": ("dynamic_degree", "dynamic_degree_speed"),
    "dynamic_degree_flow": ("dynamic_degree_flow", "dynamic_degree_flow_speed"),
}
"""Columns that each score writes."""
