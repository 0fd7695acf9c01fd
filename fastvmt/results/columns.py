"""Columns of records: one quantity by case id, and their summaries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

from fastvmt.cost.cost import WITH_REFERENCE, Energy, loop_with_reference, peak
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.machines import machines
from fastvmt.results.statistics import Summary, summarise
from fastvmt.stopwatch import KEPT


def healthy(records: Sequence[CaseRecord]) -> list[CaseRecord]:
    """Leave out the cases that diverged: they count in no mean, not of seconds either."""
    return [record for record in records if record.diverged is None]


class Scored(Protocol):
    """Whatever has scores."""

    @property
    def id(self) -> str:
        """Of the case."""

    @property
    def scores(self) -> Mapping[str, float]:
        """By column; NaN is missing."""


class Pooled(Scored, Protocol):
    """Whatever has scores, and says how they are averaged over videos."""

    @property
    def frames(self) -> int:
        """Of the scored video."""

    @property
    def pooled(self) -> Sequence[str]:
        """Scores whose means weigh every frame after a video's first alike, as in VBench's tables."""


def score_column(records: Sequence[Scored], score: str) -> dict[str, float]:
    """Give one score by case id; NaN where it is missing."""
    return {record.id: record.scores.get(score, math.nan) for record in records}


def absences(records: Sequence[CaseRecord], score: str) -> dict[str, int]:
    """Count the cases without a score by the reason, those that diverged left out; the most frequent first."""
    return dict(Counter(record.notes[score] for record in healthy(records) if score in record.notes).most_common())


def score_summaries(records: Sequence[Pooled]) -> dict[str, Summary]:
    """Summarise every score over cases, seeds averaged within, or pooled; scores that no case has have n = 0."""
    names = dict.fromkeys(name for record in records for name in record.scores)
    found = {name: summarise(score_column(records, name)) for name in names}
    pooled = {name for record in records for name in record.pooled}
    return {n: replace(row, mean=pooled_mean(records, n)) if n in pooled else row for n, row in found.items()}


def pooled_mean(records: Sequence[Pooled], score: str) -> float:
    """Average a score in which a video weighs as many frames as it has after the first; NaN without any."""
    column = {name: value for name, value in score_column(records, score).items() if math.isfinite(value)}
    weight = {record.id: record.frames - 1 for record in records if record.id in column}
    return sum(column[name] * weight[name] for name in column) / sum(weight.values()) if column else math.nan


def mean_scores(records: Sequence[Pooled]) -> dict[str, dict[str, float | int]]:
    """Give :func:`score_summaries` of the scores that some case has, as plain values."""
    return {name: asdict(row) for name, row in score_summaries(records).items() if row.n}


def seconds_column(records: Sequence[CaseRecord], stage: str) -> dict[str, float]:
    """Give seconds of a stage by case id, also of the loop with the reference; 0 where it did not run."""
    if stage == WITH_REFERENCE:
        return {record.id: loop_with_reference(record.seconds) for record in records}
    return {record.id: record.seconds.get(stage, 0.0) for record in records}


def mean_seconds(records: Sequence[CaseRecord]) -> dict[str, float]:
    """Average the seconds of every stage over cases, and of the loop with the reference; NaN of several machines'."""
    stages = dict.fromkeys(name for record in records for name in record.seconds if name != KEPT)
    names = [*stages, WITH_REFERENCE]
    if len(machines(records)) > 1:
        return dict.fromkeys(names, math.nan)
    return {name: summarise(seconds_column(records, name)).mean for name in names}


def cost_summaries(records: Sequence[CaseRecord]) -> dict[str, Summary]:
    """Summarise seconds of loop and total, peak memory by kind and joules by meter, over cases; n = 0 is n/a.

    Cases that diverged are left out. Seconds of several machines are n/a.
    """
    records = healthy(records)
    one = len(machines(records)) < 2
    columns = {
        f"{stage}_seconds": seconds_column(records, stage) if one else {record.id: math.nan for record in records}
        for stage in (WITH_REFERENCE, "total")
    }
    for kind in ("allocated", "reserved", "device", "resident"):
        columns[f"{kind}_gib"] = {record.id: known(peak(record.cost.memory_gib, kind)) for record in records}
    columns["energy_joules"] = {record.id: joules(record.cost.energy) for record in records}
    columns["cpu_energy_joules"] = {record.id: joules(record.cost.cpu_energy) for record in records}
    return {name: summarise(column) for name, column in columns.items()}


def summaries(records: Sequence[CaseRecord]) -> dict[str, Any]:
    """Give the cases and their means as ``result.json`` holds them."""
    return {
        "scores": mean_scores(records),
        "seconds": mean_seconds(healthy(records)),
        "diverged": len(records) - len(healthy(records)),
        "costs": {name: asdict(row) for name, row in cost_summaries(records).items()},
        "cases": [record.to_json() for record in records],
    }


def joules(energy: Energy) -> float:
    """Give joules of the whole generation; NaN where not measured."""
    return known(energy.total)


def known(value: float | None) -> float:
    """Give a value; NaN where it is None."""
    return math.nan if value is None else value
