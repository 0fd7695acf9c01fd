"""The score that only generated worlds have: they know their true motion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastvmt.score.metric import ScoreMetric
from fastvmt.score.networks import Networks
from fastvmt.score.registry import score
from fastvmt.score.sample import Sample
from fastvmt.trackers.base import Tracker
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
its cosine falls. ``experiments/checks/trajectory_gate.py`` repeats the measurement.
"""
COLUMNS = ("trajectory_cosine", "trajectory_confidence")


class Trajectory(ScoreMetric):
    """:func:`fastvmt.world.trajectory.trajectory_cosine`, NaN where it was measured with too little confidence.

    It reads a sample's ``truth``, ``category`` and the objects that the prompt names; NaN without a truth.
    """

    columns = COLUMNS

    def __init__(self, tracker: Tracker, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tracker = tracker

    @property
    def source(self) -> dict[str, Any]:
        mode = f"confidence >= {SURE_OBJECT} (objects), {SURE_CAMERA} (camera)"
        return {"mode": mode, "tracker": self.tracker.id}

    def measure(self, sample: Sample) -> dict[str, float]:
        if sample.truth is None:
            return dict.fromkeys(COLUMNS, math.nan)
        sprites = [sprite(name) for name in named(sample.prompt, OBJECTS)]
        found = trajectory_cosine(sample.video, sample.truth, sample.category, sprites, self.tracker)
        sure = found.confidence >= (SURE_CAMERA if sample.category == "camera" else SURE_OBJECT)
        return {"trajectory_cosine": found.cosine if sure else math.nan, "trajectory_confidence": found.confidence}

    def reasons(self, sample: Sample, found: Mapping[str, float]) -> dict[str, str]:
        least = SURE_CAMERA if sample.category == "camera" else SURE_OBJECT
        confidence = found["trajectory_confidence"]
        unsure = f"what moves was recognised with a confidence of {confidence:.2f}, less than {least:g}"
        return {"trajectory_cosine": unsure if confidence < least else "the reference stands still"}


@score(
    "trajectory",
    definition="cosine of displacements from frame 0 with the true ones of camera, object centres or points on objects",
    source="own definition",
    range="-1..1",
    limits="objects have lost their shape: smeared ones mostly pass the confidence below which it is n/a, absent ones "
    "and noise mostly do not; compare methods on the cases that both have. Generated worlds only",
    version=2,
    needs=("truth", "prompt"),
    columns=COLUMNS,
    head="trajectory",
)
def trajectory(networks: Networks) -> Trajectory:
    return Trajectory(networks.tracker)
