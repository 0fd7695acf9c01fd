"""The trade-offs that a search found: finished trials, those that no other one beats, and their picture."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import ge
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastvmt.files import is_plain, write_json
from fastvmt.results.columns import score_summaries
from fastvmt.results.folder import RunFolder
from fastvmt.results.statistics import summarise
from fastvmt.studies.quantities import RATIO, ratios
from fastvmt.studies.rows import Row, labels, read_rows

PLAIN = "plain"
"""The folder of a trial's plain loop, in the trial's own."""


@dataclass(frozen=True)
class Trial:
    """A finished trial and what it is judged by."""

    row: Row
    name: str
    values: tuple[float, ...]
    best: bool
    """Whether no other trial is at least as good in all objectives and better in one."""


def objective(folder: Path, name: str) -> float:
    """Give a finished trial's mean of a score, or its loop over the plain one; NaN where it has none."""
    records = RunFolder(folder).records()
    if name != RATIO:
        found = score_summaries(records).get(name)
        return math.nan if found is None else found.mean
    plain = RunFolder(folder / PLAIN)
    return summarise(ratios(records, plain.records())).mean if is_plain(plain.result) else math.nan


def trials(folder: Path, names: Sequence[str], signs: Sequence[int]) -> list[Trial]:
    """Judge the finished trials of a search by its objectives; ``signs`` are 1 where more is better, else -1.

    Trials that lack an objective are left out. Raises ``ValueError`` where none is left.
    """
    rows = read_rows([folder])
    found = [(row, tuple(objective(row.folder, name) for name in names)) for row in rows]
    found = [(row, values) for row, values in found if all(map(math.isfinite, values))]
    if not found:
        raise ValueError(f"{folder} holds no trial with {' and '.join(names)}")
    turned = [tuple(sign * value for sign, value in zip(signs, values, strict=True)) for _, values in found]
    best = [not any(other != mine and all(map(ge, other, mine)) for other in turned) for mine in turned]
    named = labels([row for row, _ in found])
    return [Trial(row, name, values, b) for (row, values), name, b in zip(found, named, best, strict=True)]


def write_pareto(folder: Path, names: Sequence[str], directions: Sequence[str]) -> list[Trial]:
    """Write ``pareto.json``, ``pareto.csv`` and, of two objectives, ``pareto.png``; returns the best trials.

    Raises as :func:`trials`.
    """
    found = trials(folder, names, [1 if direction == "maximize" else -1 for direction in directions])
    best = sorted((trial for trial in found if trial.best), key=lambda trial: trial.values)
    content = [
        {"row": trial.row.folder.name, **trial.row.values, **dict(zip(names, trial.values, strict=True))}
        for trial in best
    ]
    directed = dict(zip(names, directions, strict=True))
    write_json(folder / "pareto.json", {"objectives": directed, "trials": len(found), "pareto": content})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for line in content for key in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(content)
    (folder / "pareto.csv").write_text(text.getvalue(), encoding="utf-8")
    if len(names) == 2:
        figure = Figure(figsize=(6, 4), layout="constrained")
        draw(figure.add_subplot(), found, best, names)
        figure.savefig(folder / "pareto.png", dpi=150)
    return best


def draw(axes: Axes, found: Sequence[Trial], best: Sequence[Trial], names: Sequence[str]) -> None:
    """Draw all trials, and a line through the best with their names."""
    axes.scatter([t.values[1] for t in found], [t.values[0] for t in found], color="0.7", label=f"{len(found)} trials")
    axes.plot([t.values[1] for t in best], [t.values[0] for t in best], "o-", label="best trade-offs")
    for trial in best:
        axes.annotate(trial.name, (trial.values[1], trial.values[0]), fontsize=6)
    axes.set_xlabel(names[1].replace("_", " "))
    axes.set_ylabel(names[0].replace("_", " "))
    axes.legend()
