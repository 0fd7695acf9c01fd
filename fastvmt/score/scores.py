"""The scores of one result, side by side: which ones is a list in the configuration."""

from __future__ import annotations

import math
import warnings
from collections.abc import Container, Mapping, Sequence
from typing import Any

from fastvmt.cache import content_key
from fastvmt.score.metric import ScoreMetric
from fastvmt.score.motion_fidelity import featureless
from fastvmt.score.networks import Networks
from fastvmt.score.registry import entries
from fastvmt.score.requirements import check_settings
from fastvmt.score.sample import Sample, blank, thinned
from fastvmt.score.weights import MissingWeightsError
from fastvmt.trackers.base import Tracker
from fastvmt.types import TransferResult


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
        check_settings(names, also, clip, weights or {}, on_missing)
        if frames is not None and frames < 2:
            raise ValueError(f"metrics.frames={frames} must be at least 2, or null for all frames")
        self.entries = {name: entries()[name] for name in (*names, *also)}
        self.vbench_compat = vbench_compat
        self.frames = frames
        self.metrics: dict[str, ScoreMetric] = {}
        """By name, without those whose weights are missing."""
        self.missing: dict[str, str] = {}
        """By name, which file is missing."""
        networks = Networks(tracker, clip, weights or {}, vbench_compat, device)
        for name, entry in self.entries.items():
            try:
                self.metrics[name] = entry.build(networks)
            except MissingWeightsError as error:
                self.missing[name] = str(error)
        self._report(on_missing)

    def _report(self, on_missing: str) -> None:
        """Everything that is missing at once, as an error or as a warning."""
        by_cause: dict[str, list[str]] = {}
        for name, cause in self.missing.items():
            by_cause.setdefault(cause, []).append(name)
        message = "; ".join(f"{', '.join(names)}: {cause}" for cause, names in by_cause.items())
        if message and on_missing == "error":
            raise MissingWeightsError(f"weights are missing for {message}")
        if message:
            warnings.warn(f"left out (n/a) for lack of weights: {message}", stacklevel=3)

    def __call__(self, result: TransferResult) -> dict[str, float]:
        """Score columns to values; warns of what makes some n/a."""
        case = result.case
        sample = Sample(result.video, case.reference, case.prompt, case.truth, case.category, case.foreground_THW)
        for note in notes(sample):
            warnings.warn(f"{case.id}: {note}", stacklevel=2)
        return self.score(sample)

    def score(self, sample: Sample, without: Container[str] = ()) -> dict[str, float]:
        """Score columns to values, for a video from anywhere; scores named in ``without`` are NaN.

        Raises ``ValueError`` for videos that a score cannot take (sizes that differ, too few frames).
        """
        sample = sample if self.frames is None else thinned(sample, self.frames)
        found: dict[str, float] = {}
        for name, entry in self.entries.items():
            here = name in self.metrics and name not in without
            found |= self.metrics[name].score(sample) if here else dict.fromkeys(entry.columns, math.nan)
        return found

    @property
    def versions(self) -> dict[str, int]:
        """The version of every score's definition: values of different ones do not compare."""
        return {name: entry.version for name, entry in self.entries.items()}

    @property
    def judges(self) -> dict[str, str]:
        """By score a hash of what computes it: networks with their weights, tracker, parameters."""
        sources = {name: self.metrics[name].source if name in self.metrics else "missing" for name in self.entries}
        return {name: content_key(source=source)[:16] for name, source in sources.items()}

    @property
    def headline(self) -> dict[str, str]:
        """The columns of the table of cases and their short heads."""
        return {entry.columns[0]: entry.head for entry in self.entries.values() if entry.head}

    @property
    def pooled(self) -> tuple[str, ...]:
        """Columns whose means weigh videos by their frames: as VBench's tables, with ``vbench_compat`` only."""
        return tuple(entry.columns[0] for entry in self.entries.values() if entry.pooled and self.vbench_compat)

    def provenance(self) -> dict[str, Any]:
        """Per score what it is and what computed it, and what all share; plain values, for ``result.json``."""
        return {
            "scores": {
                name: entry.described()
                | (self.metrics[name].source if name in self.metrics else {"missing": self.missing[name]})
                for name, entry in self.entries.items()
            },
            "scored_from": "memory",
            "vbench_compat": self.vbench_compat,
            "frames": self.frames or "all",
        }


def notes(sample: Sample) -> list[str]:
    """Why scores of a sample are n/a, whatever the scores."""
    found = []
    if blank(sample.video):
        found.append("the video is of one colour: its scores are n/a")
    elif featureless(sample.video):
        found.append("the video has no texture to follow: motion fidelity is n/a")
    if sample.reference is not None and featureless(sample.reference):
        found.append("the reference has no texture to follow: motion fidelity is n/a")
    if not sample.prompt.strip():
        found.append("no prompt: text similarity is n/a")
    return found
