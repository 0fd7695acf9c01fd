"""The scores of one result, side by side: which ones is a list in the configuration."""

from __future__ import annotations

import math
import warnings
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from fastvmt.data.alignment import evenly, picked, spread
from fastvmt.results.provenance import installed
from fastvmt.score.definitions import DEFINITIONS
from fastvmt.score.judges import Judges
from fastvmt.score.scorers import BUILDERS, COLUMNS, Sample, Scorer
from fastvmt.score.weights import MissingWeightsError
from fastvmt.trackers.base import Tracker
from fastvmt.types import TransferResult

ON_MISSING = ("error", "skip")
POOLED = ("subject_consistency", "background_consistency")
PACKAGES = ("fastvmt", "torch", "torchvision", "torchmetrics", "open_clip_torch", "timm", "opencv-python-headless")


class Scores:
    """The scores that ``names`` and ``also`` list, each by itself; everything is loaded when this is made.

    Videos are scored in memory, before they are encoded. Missing values are NaN.
    """

    def __init__(
        self,
        tracker: Tracker,
        names: Sequence[str],
        clip: Mapping[str, Any],
        weights: Mapping[str, str | None] | None = None,
        also: Sequence[str] = (),
        vbench_compat: bool = False,
        frames: int | None = None,
        on_missing: str = "error",
        device: str = "cpu",
    ) -> None:
        """See ``conf/metrics/default.yaml``.

        Raises ``ValueError`` for an unknown name or setting, and ``MissingWeightsError`` for absent
        weights unless ``on_missing`` is ``skip``, which warns and leaves their columns NaN.
        """
        for key, listed in (("names", names), ("also", also)):
            if unknown := [name for name in listed if name not in BUILDERS]:
                raise ValueError(f"metrics.{key} has {unknown[0]!r}, which is none of {', '.join(BUILDERS)}")
        if on_missing not in ON_MISSING:
            raise ValueError(f"metrics.on_missing={on_missing!r} must be one of {', '.join(ON_MISSING)}")
        if frames is not None and frames < 2:
            raise ValueError(f"metrics.frames={frames} must be at least 2, or null for all frames")
        self.tracker, self.on_missing = tracker, on_missing
        self.vbench_compat, self.frames = vbench_compat, frames
        judges = Judges(clip, weights or {}, vbench_compat, device)
        self.scorers: dict[str, Scorer] = {}
        missing: dict[str, MissingWeightsError] = {}
        for name in dict.fromkeys([*names, *also]):
            try:
                self.scorers[name] = BUILDERS[name](judges, tracker)
            except MissingWeightsError as error:
                missing[name] = error
                self.scorers[name] = left_out(name, error)
        self._report(missing)

    def _report(self, missing: Mapping[str, MissingWeightsError]) -> None:
        """Everything that is missing at once, as an error or as a warning."""
        by_cause: dict[str, list[str]] = {}
        for name, error in missing.items():
            by_cause.setdefault(str(error), []).append(name)
        message = "\n".join(f"{', '.join(names)}: {cause}" for cause, names in by_cause.items())
        if missing and self.on_missing == "error":
            raise MissingWeightsError(f"weights are missing for\n{message}")
        if missing:
            warnings.warn(f"left out (n/a) for lack of weights: {message}", stacklevel=3)

    def __call__(self, result: TransferResult) -> dict[str, float]:
        """Score columns to values."""
        case = result.case
        return self.score(
            Sample(result.video, case.reference, case.prompt, case.truth, case.category, case.foreground_THW)
        )

    def score(self, sample: Sample, without: Container[str] = ()) -> dict[str, float]:
        """Score columns to values, for a video from anywhere; scores named in ``without`` are NaN.

        Raises ``ValueError`` for videos that a score cannot take (sizes that differ, too few frames).
        """
        sample = sample if self.frames is None else thinned(sample, self.frames)
        columns: dict[str, float] = {}
        for name, scorer in self.scorers.items():
            columns |= dict.fromkeys(COLUMNS[name], math.nan) if name in without else scorer.score(sample)
        return columns

    @property
    def pooled(self) -> tuple[str, ...]:
        """Columns whose means over videos weigh every frame after the first alike: VBench's, if it is followed."""
        return tuple(name for name in POOLED if name in self.scorers) if self.vbench_compat else ()

    @property
    def versions(self) -> dict[str, int]:
        """The version of every score's definition: values of different ones do not compare."""
        return {name: DEFINITIONS[name].version for name in self.scorers}

    def provenance(self) -> dict[str, Any]:
        """Per score what it is and what computed it, and what all share; plain values, for ``result.json``."""
        return {
            "scores": {name: asdict(DEFINITIONS[name]) | scorer.source for name, scorer in self.scorers.items()},
            "scored_from": "memory",
            "vbench_compat": self.vbench_compat,
            "frames": self.frames or "all",
            "versions": {package: installed(package) for package in PACKAGES},
        }


def thinned(sample: Sample, frames: int) -> Sample:
    """A sample at ``frames`` evenly spread ones of the frames that video and reference share, if they are as many."""
    clips = [clip for clip in (sample.video, sample.reference) if clip is not None]
    count = min(clip.size[0] for clip in clips)
    video, *rest = (evenly(picked(clip, list(range(count)), clip.fps), frames) for clip in clips)
    reference = rest[0] if rest else None
    index, mask, truth = spread(count, frames), sample.foreground_THW, sample.truth
    if truth is not None:
        truth = replace(
            truth,
            centres_KT2=truth.centres_KT2[:, index],
            tracks_NT2=truth.tracks_NT2[:, index],
            visible_NT=truth.visible_NT[:, index],
        )
    mask = None if mask is None else mask[index]
    return replace(sample, video=video, reference=reference, truth=truth, foreground_THW=mask)


def left_out(name: str, error: MissingWeightsError) -> Scorer:
    """A score whose weights are missing: its columns are NaN."""
    return Scorer(lambda _: dict.fromkeys(COLUMNS[name], math.nan), {"missing": str(error)})
