"""Timings of a study's rows: samples of the loop with plain sampling beside, and what they come to."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Sample:
    """One transfer. Seconds are of guidance and denoising; NaN where it diverged."""

    row: str
    case: str
    repeat: int
    seconds: float
    """Wall seconds, on a GPU the device's."""
    cpu_seconds: float
    """Of this process."""
    contended: bool
    """Whether others wanted the machine too: ``seconds`` then count in no mean."""
    plain_seconds: float
    """Of plain sampling of the same case, just before."""
    plain_cpu_seconds: float
    plain_contended: bool


@dataclass(frozen=True)
class Timing:
    """A row's: of every case the median over repeats, of these the mean over cases. NaN is n/a."""

    row: str
    n: int
    """Samples."""
    contended: int
    """Of them, those without seconds."""
    loop_seconds: float
    loop_cpu_seconds: float
    ratio: float
    """To plain sampling: of CPU seconds where that computes, else of uncontended seconds."""
    hardware: str
    threads: int


def timings(samples: Sequence[Sample], hardware: str, threads: Mapping[str, int], *, on_cpu: bool) -> list[Timing]:
    """Summarise samples by row, in their order; ``threads`` are each row's."""
    rows: dict[str, list[Sample]] = {}
    for sample in samples:
        rows.setdefault(sample.row, []).append(sample)
    return [
        Timing(
            row=row,
            n=len(found),
            contended=sum(sample.contended for sample in found),
            loop_seconds=typical((each.case, each.seconds) for each in found if not each.contended),
            loop_cpu_seconds=typical((each.case, each.cpu_seconds) for each in found),
            ratio=typical((each.case, ratio(each, on_cpu=on_cpu)) for each in found),
            hardware=hardware,
            threads=threads[row],
        )
        for row, found in rows.items()
    ]


def ratio(sample: Sample, *, on_cpu: bool) -> float:
    """Divide a sample by plain sampling beside it; NaN where one of both is contended and no CPU seconds tell."""
    if on_cpu:
        return quotient(sample.cpu_seconds, sample.plain_cpu_seconds)
    if sample.contended or sample.plain_contended:
        return math.nan
    return quotient(sample.seconds, sample.plain_seconds)


def quotient(above: float, below: float) -> float:
    """Divide; NaN by 0."""
    return above / below if below else math.nan


def typical(values: Iterable[tuple[str, float]]) -> float:
    """Average over cases the medians of their finite values; NaN without any."""
    by_case: dict[str, list[float]] = defaultdict(list)
    for case, value in values:
        if math.isfinite(value):
            by_case[case].append(value)
    return statistics.fmean(map(statistics.median, by_case.values())) if by_case else math.nan


def timings_csv(found: Sequence[Timing]) -> str:
    """Write timings in full precision, a line per row; n/a is empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(Timing.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    for timing in found:
        writer.writerow({key: "" if value != value else value for key, value in asdict(timing).items()})
    return stream.getvalue()
