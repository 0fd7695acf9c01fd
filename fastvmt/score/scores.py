"""The scores of one result, side by side: which ones is a list in the configuration."""

from __future__ import annotations

import math
import warnings
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastvmt.cache import content_key
from fastvmt.score.metric import ScoreMetric
from fastvmt.score.networks import Networks
from fastvmt.score.registry import entries
from fastvmt.score.requirements import check_settings
from fastvmt.score.sample import LACKING, Sample, blank, lacks, thinned
from fastvmt.score.weights import SKIP, MissingWeightsError
from fastvmt.settings import check_scored_frames
from fastvmt.trackers.base import Tracker
from fastvmt.types import TransferCase, Video

UNDEFINED = "it is undefined for this video"
MISSING = "its weights are missing"
UNASKED = "nothing here can judge this clip"
DIVERGED = "it diverged"


@dataclass(frozen=True)
class Judged:
    """The scores of one video and why some are missing."""

    values: dict[str, float]
    """By column; NaN is missing."""
    notes: dict[str, str]
    """By missing column, the reason."""
    headline: Container[str]
    """Columns that are scores of their own, not read with another."""

    @property
    def surprises(self) -> list[str]:
        """The reasons why scores of the headline are missing, each with its scores."""
        by_reason: dict[str, list[str]] = {}
        for column, reason in self.notes.items():
            if column in self.headline and reason not in (LACKING["truth"], LACKING["mask"], MISSING, UNASKED):
                by_reason.setdefault(reason, []).append(column.replace("_", " "))
        return [f"{reason}: {', '.join(columns)} n/a" for reason, columns in by_reason.items()]


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
        if frames is not None:
            check_scored_frames(frames)
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
            warnings.warn(f"left out (n/a) for lack of weights: {message.replace(SKIP, '')}", stacklevel=3)

    def __call__(self, case: TransferCase, video: Video, without: Container[str] = ()) -> Judged:
        """Score a case's video; warns of what makes scores n/a, but for what is told once for all results."""
        sample = Sample(video, case.reference, case.prompt, case.truth, case.category, case.foreground_THW)
        judged = self.judge(sample, without)
        for note in judged.surprises:
            warnings.warn(f"{case.id}: {note}", stacklevel=2)
        return judged

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

    def judge(self, sample: Sample, without: Container[str] = ()) -> Judged:
        """As :meth:`score`, with the reason of every value that is missing."""
        found = self.score(sample, without)
        reasons: dict[str, str] = {}
        for name, entry in self.entries.items():
            if absent := [column for column in entry.columns if math.isnan(found[column])]:
                whole = self._reason(name, sample, without)
                own = {} if whole else self.metrics[name].reasons(sample, found)
                reasons |= {column: whole or own.get(column, UNDEFINED) for column in absent}
        return Judged(found, reasons, self.headline)

    def nothing(self, reason: str) -> Judged:
        """Give the scores of a case without a video."""
        columns = [column for entry in self.entries.values() for column in entry.columns]
        return Judged(dict.fromkeys(columns, math.nan), dict.fromkeys(columns, reason), self.headline)

    def _reason(self, name: str, sample: Sample, without: Container[str]) -> str:
        """Why a whole score is missing; empty if it was measured."""
        if name in without or name in self.missing:
            return UNASKED if name in without else MISSING
        if blank(sample.video):
            return "the video is of one colour"
        return next((LACKING[need] for need in self.entries[name].needs[:1] if lacks(sample, need)), "")

    @property
    def versions(self) -> dict[str, int]:
        """The version of every score's definition: values of different ones do not compare."""
        return {name: entry.version for name, entry in self.entries.items()}

    @property
    def judges(self) -> dict[str, str]:
        """By score a hash of what computes it: networks with their weights, tracker, parameters."""
        sources = {name: self.metrics[name].source if name in self.metrics else "missing" for name in self.entries}
        shared = {"frames": self.frames, "vbench_compat": self.vbench_compat}
        return {name: content_key(source=source, **shared)[:16] for name, source in sources.items()}

    @property
    def headline(self) -> dict[str, str]:
        """The columns of the table of cases and their heads, which say where higher is not better."""
        return {entry.columns[0]: entry.headed for entry in self.entries.values() if entry.head}

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
