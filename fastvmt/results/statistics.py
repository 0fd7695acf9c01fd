"""What can be said about a score: means over seeds and cases, paired intervals.

A value belongs to a case id ``reference/prompt/s<seed>``. Seeds are averaged within a case
(reference and prompt), tables average over cases, and intervals resample references, because all
prompts and seeds of one clip move together. Missing values are NaN; they are left out and counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Floats = NDArray[np.float64]

RESAMPLES = 10_000
SEED = 0
"""Of the bootstrap: the same data give the same interval."""
FEWEST = 6
"""References below which an interval would be an anecdote: it is NaN."""


def reference_of(case_id: str) -> str:
    """The reference of a case id; ids without a slash are references of their own."""
    return case_id.split("/")[0]


def seedless(case_id: str) -> str:
    """A case id without its seed."""
    return re.sub(r"/s\d+$", "", case_id)


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """Without missing and infinite values."""
    return {case_id: value for case_id, value in values.items() if math.isfinite(value)}


def _grouped(values: Mapping[str, float], group: Mapping[str, str]) -> dict[str, Floats]:
    """Values by group, in order of appearance."""
    groups: dict[str, list[float]] = {}
    for case_id, value in values.items():
        groups.setdefault(group[case_id], []).append(value)
    return {name: np.array(members) for name, members in groups.items()}


def seed_means(values: Mapping[str, float]) -> dict[str, float]:
    """Mean over the seeds of every case, by case id without seed."""
    kept = finite(values)
    return {case: float(v.mean()) for case, v in _grouped(kept, {i: seedless(i) for i in kept}).items()}


@dataclass(frozen=True)
class Summary:
    """A column of a table."""

    mean: float
    """Over cases, each the mean of its seeds."""
    std: float
    """Sample standard deviation over cases; NaN below two."""
    seed_std: float
    """Sample standard deviation over seeds, averaged over the cases that have two or more; NaN without any."""
    n: int
    """Cases with a value."""
    missing: int
    """Values that are missing."""


def summarise(values: Mapping[str, float]) -> Summary:
    """Summary of a score by case id; all missing gives NaN, never 0."""
    kept = finite(values)
    groups = list(_grouped(kept, {i: seedless(i) for i in kept}).values())
    means = np.array([group.mean() for group in groups])
    spreads = [group.std(ddof=1) for group in groups if len(group) > 1]
    return Summary(
        mean=float(means.mean()) if len(means) else math.nan,
        std=float(means.std(ddof=1)) if len(means) > 1 else math.nan,
        seed_std=float(np.mean(spreads)) if spreads else math.nan,
        n=len(means),
        missing=len(values) - len(kept),
    )


@dataclass(frozen=True)
class Comparison:
    """Mean of ours minus theirs over the cases that both have, and its 95 % interval."""

    mean: float
    low: float
    """NaN, as ``high`` and ``p``, below six references."""
    high: float
    n: int
    """Cases compared."""
    references: int
    lost: int
    """Values, by case id with seed, that one of the two lacks."""
    p: float = math.nan
    """Twice the share of resamples on the other side of 0, at most 1."""


def compare(
    ours: Mapping[str, float], theirs: Mapping[str, float], resamples: int = RESAMPLES, seed: int = SEED
) -> Comparison:
    """Paired comparison: seeds averaged, references resampled, percentiles 2.5 and 97.5.

    A resample's mean is over its cases, so references with more prompts weigh more, as in the table.
    """
    mine, other = finite(ours), finite(theirs)
    shared = [case_id for case_id in mine if case_id in other]
    lost = len(set(ours) | set(theirs)) - len(shared)
    differences = seed_means({case_id: mine[case_id] - other[case_id] for case_id in shared})
    clusters = list(_grouped(differences, {case: reference_of(case) for case in differences}).values())
    mean = float(np.mean(list(differences.values()))) if differences else math.nan
    means = resampled_means(clusters, resamples, seed)
    low, high = (math.nan, math.nan) if means is None else np.percentile(means, [2.5, 97.5])
    return Comparison(mean, float(low), float(high), len(differences), len(clusters), lost, p_value(means))


@lru_cache(maxsize=1)
def resampled(count: int, resamples: int = RESAMPLES, seed: int = SEED) -> NDArray[np.int64]:
    """Draw the indices of ``count`` clusters with replacement, (resamples, count): the same at every call."""
    picks = np.random.default_rng(seed).integers(0, count, (resamples, count))
    picks.flags.writeable = False  # kept for the next column of as many
    return picks


def resampled_means(clusters: Sequence[Floats], resamples: int = RESAMPLES, seed: int = SEED) -> Floats | None:
    """Give the means of all values when whole clusters are drawn with replacement; None for few clusters."""
    if len(clusters) < FEWEST:
        return None
    sums = np.array([cluster.sum() for cluster in clusters])
    counts = np.array([len(cluster) for cluster in clusters])
    picks = resampled(len(clusters), resamples, seed)
    means: Floats = sums[picks].sum(1) / counts[picks].sum(1)
    return means


def p_value(means: Floats | None) -> float:
    """Two-sided p of resampled means against 0, never below 2 / (resamples + 1); NaN without any."""
    if means is None:
        return math.nan
    least = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return min(1.0, 2 * (least + 1) / (len(means) + 1))


def holm(values: Mapping[T, float]) -> dict[T, float]:
    """Adjust p values for their number by Holm's step-down rule (Scandinavian Journal of Statistics 6, 1979).

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    adjusted: dict[T, float] = {}
    least = 0.0
    for rank, (name, p) in enumerate(sorted(values.items(), key=lambda pair: pair[1])):
        least = max(least, min(1.0, (len(values) - rank) * p))
        adjusted[name] = least
    return adjusted
