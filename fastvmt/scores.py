"""The scores of one result, side by side."""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path

from fastvmt.metrics.encoder import OpenClipEncoder
from fastvmt.metrics.motion_fidelity import score_motion
from fastvmt.metrics.similarity import TemporalConsistency, TextSimilarity
from fastvmt.metrics.trajectory import trajectory_cosine
from fastvmt.trackers.base import Tracker
from fastvmt.types import TransferResult
from fastvmt.world.scene import sprite
from fastvmt.world.vocabulary import OBJECTS, named


class NoScores:
    """Scores nothing."""

    def __init__(self, tracker: Tracker | None = None) -> None:
        self.tracker = tracker

    def __call__(self, result: TransferResult) -> dict[str, float]:
        return {}


class Scores:
    """Motion fidelity against the reference and, where it is known, its true motion; CLIP scores.

    Videos are scored in memory, before they are encoded. Missing values are NaN.
    """

    def __init__(self, tracker: Tracker, clip: dict[str, str]) -> None:
        model = clip["model"]
        shipped = Path(str(resources.files("fastvmt"))) / "models" / model
        self.tracker = tracker
        self.encoder = OpenClipEncoder(shipped if shipped.is_dir() else model)
        self.text = TextSimilarity(self.encoder)
        self.temporal = TemporalConsistency(self.encoder)

    def __call__(self, result: TransferResult) -> dict[str, float]:
        """Score names to values."""
        case, video = result.case, result.video
        motion = score_motion(video, case.reference, self.tracker)
        trajectory = math.nan
        if case.truth is not None:
            sprites = [sprite(name) for name in named(case.prompt, OBJECTS)]
            trajectory = trajectory_cosine(video, case.truth, case.category, sprites, self.tracker).cosine
        return {
            "motion_fidelity": motion.fidelity,
            "motion_fidelity_dynamic": motion.dynamic,
            "trajectory_cosine": trajectory,
            "text_similarity": self.text.score(video, case.prompt),
            "temporal_consistency": self.temporal.score(video),
            "static_fraction": motion.static_generated,
            "static_fraction_reference": motion.static_reference,
            "speed": motion.speed_generated,
            "speed_reference": motion.speed_reference,
            "coverage": motion.coverage_generated,
        }
