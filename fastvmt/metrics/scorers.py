"""Every score that a configuration can ask for, by name: what it needs, which columns it writes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastvmt.metrics.aesthetic import AestheticQuality
from fastvmt.metrics.consistency import BackgroundConsistency, SubjectConsistency
from fastvmt.metrics.dense_flow import DisFlow, FlowModel
from fastvmt.metrics.dynamic import video_dynamics
from fastvmt.metrics.flicker import TemporalFlickering
from fastvmt.metrics.judges import Judges
from fastvmt.metrics.motion_fidelity import score_motion
from fastvmt.metrics.per_video import VideoMetric
from fastvmt.metrics.similarity import TemporalConsistency, TextSimilarity
from fastvmt.metrics.smoothness import MotionSmoothness, MotionSmoothnessFlow
from fastvmt.metrics.trajectory import trajectory_cosine
from fastvmt.trackers.base import Tracker
from fastvmt.types import Truth, Video
from fastvmt.world.scene import sprite
from fastvmt.world.vocabulary import OBJECTS, named

SURE_OBJECT, SURE_CAMERA = 0.7, 0.5
"""Confidence from which a measured trajectory is believed; below it the cosine is NaN.

For objects it is the fit of the sprite. Measured on 24 clips of 9 frames: clean ones have at least 0.90,
pale, blurred and noisy ones at least 0.79 and cosines near 1; objects smeared over 12 pixels reach 0.59,
most keep 0.75 and are followed still (median cosine 0.98 where centres move), but one was lost at 0.64
(cosine -0.7); where the object is absent the median is 0.34 and one of 24 exceeds 0.7; noise has at most
0.25. For cameras it is the share of tracks that agree, in 7 clips: at least 0.60 in videos whose camera is
measured right, at most 0.27 in noise. A high fit does not prove that an articulated object has a shape: as
a blob it still fits by 0.9, and its cosine falls. ``experiments/trajectory_gate.py`` repeats the measurement.
"""


@dataclass(frozen=True)
class Sample:
    """A video to score and what is known about it."""

    video: Video
    reference: Video | None
    """The clip whose motion it should follow, as the generator saw it; None: no motion fidelity."""
    prompt: str
    truth: Truth | None
    """The reference's true motion, for generated worlds."""
    category: str


@dataclass(frozen=True)
class Scorer:
    """One entry of ``metrics.names``, ready to run."""

    score: Callable[[Sample], dict[str, float]]
    source: dict[str, Any]
    """What computes it: encoder or tracker, hash of its weights, mode."""


def motion(judges: Judges, tracker: Tracker) -> Scorer:
    """Motion fidelity against the reference and the numbers needed to read it."""

    def score(sample: Sample) -> dict[str, float]:
        if sample.reference is None:
            return dict.fromkeys(COLUMNS["motion_fidelity"], math.nan)
        found = score_motion(sample.video, sample.reference, tracker)
        return {
            "motion_fidelity": found.fidelity,
            "motion_fidelity_dynamic": found.dynamic,
            "static_fraction": found.static_generated,
            "static_fraction_reference": found.static_reference,
            "speed": found.speed_generated,
            "speed_reference": found.speed_reference,
            "coverage": found.coverage_generated,
        }

    return Scorer(score, {"mode": "robust", "tracker": type(tracker).__name__, **_plain(vars(tracker))})


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
    return Scorer(score, {"mode": mode, "tracker": type(tracker).__name__, **_plain(vars(tracker))})


def text(judges: Judges, tracker: Tracker) -> Scorer:
    """Fit to the prompt, and whether the prompt was too long to be read to its end."""
    metric = TextSimilarity(judges.clip, judges.scale)

    def score(sample: Sample) -> dict[str, float]:
        cut = metric.truncated(sample.prompt)
        return {"text_similarity": metric.score(sample.video, sample.prompt), "prompt_truncated": float(cut)}

    return Scorer(score, {**judges.clip.provenance, "scale": judges.scale})


def text_l14(judges: Judges, tracker: Tracker) -> Scorer:
    """The same with CLIP ViT-L/14."""
    metric = TextSimilarity(judges.clip_l14, judges.scale)
    source = {**judges.clip_l14.provenance, "scale": judges.scale}
    return Scorer(lambda sample: {"text_similarity_l14": metric.score(sample.video, sample.prompt)}, source)


def of_video(column: str, metric: VideoMetric, source: dict[str, Any]) -> Scorer:
    """A score of the video alone."""
    return Scorer(lambda sample: {column: metric.score(sample.video)}, source)


def temporal(judges: Judges, tracker: Tracker) -> Scorer:
    return of_video("temporal_consistency", TemporalConsistency(judges.clip), judges.clip.provenance)


def background(judges: Judges, tracker: Tracker) -> Scorer:
    if judges.vbench_compat and judges.preprocess != "vbench":
        raise ValueError(
            f"metrics.vbench_compat=true needs metrics.clip.preprocess=vbench, it is {judges.preprocess!r}: "
            "background consistency would not be VBench's"
        )
    return of_video("background_consistency", BackgroundConsistency(judges.clip), judges.clip.provenance)


def subject(judges: Judges, tracker: Tracker) -> Scorer:
    return of_video("subject_consistency", SubjectConsistency(judges.dino), judges.dino.provenance)


def aesthetic(judges: Judges, tracker: Tracker) -> Scorer:
    metric = AestheticQuality(judges.clip_l14, judges.head)
    return of_video("aesthetic_quality", metric, {**judges.clip_l14.provenance, "head": "LAION linear, ViT-L/14"})


def smoothness(judges: Judges, tracker: Tracker) -> Scorer:
    return of_video("motion_smoothness", MotionSmoothness(judges.amt), judges.amt.provenance)


def smoothness_flow(judges: Judges, tracker: Tracker) -> Scorer:
    metric = MotionSmoothnessFlow()
    return of_video("motion_smoothness_flow", metric, metric.interpolator.provenance)


def flickering(judges: Judges, tracker: Tracker) -> Scorer:
    return of_video("temporal_flickering", TemporalFlickering(), {"precision": "float32"})


def dynamics(column: str, flow: FlowModel) -> Scorer:
    """Whether the video moves, and the speed of its fastest pixels."""

    def score(sample: Sample) -> dict[str, float]:
        found = video_dynamics(sample.video, flow)
        return {column: found.moves, f"{column}_speed": found.speed}

    return Scorer(score, flow.provenance)


def dynamic(judges: Judges, tracker: Tracker) -> Scorer:
    return dynamics("dynamic_degree", judges.raft)


def dynamic_flow(judges: Judges, tracker: Tracker) -> Scorer:
    return dynamics("dynamic_degree_flow", DisFlow())


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """The numbers and names among an object's attributes."""
    return {key: value for key, value in settings.items() if isinstance(value, int | float | str)}


Builder = Callable[[Judges, Tracker], Scorer]

BUILDERS: dict[str, Builder] = {
    "motion_fidelity": motion, "trajectory": trajectory, "text_similarity": text, "text_similarity_l14": text_l14,
    "temporal_consistency": temporal, "background_consistency": background, "subject_consistency": subject,
    "aesthetic_quality": aesthetic, "motion_smoothness": smoothness, "motion_smoothness_flow": smoothness_flow,
    "dynamic_degree": dynamic, "dynamic_degree_flow": dynamic_flow, "temporal_flickering": flickering,
}  # fmt: skip
COLUMNS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in BUILDERS},
    "motion_fidelity": (
        "motion_fidelity", "motion_fidelity_dynamic", "static_fraction", "static_fraction_reference", "speed",
        "speed_reference", "coverage",
    ),
    "trajectory": ("trajectory_cosine", "trajectory_confidence"),
    "text_similarity": ("text_similarity", "prompt_truncated"),
    "dynamic_degree": ("dynamic_degree", "dynamic_degree_speed"),
    "dynamic_degree_flow": ("dynamic_degree_flow", "dynamic_degree_flow_speed"),
}  # fmt: skip
"""Columns that each score writes."""
