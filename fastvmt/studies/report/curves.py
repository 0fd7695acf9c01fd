"""The inner optimisation of a case as a small picture: the loss over its iterations, a line per guided step."""

from __future__ import annotations

import csv
import math
from itertools import groupby
from pathlib import Path

from markupsafe import Markup

from fastvmt.studies.report.svg import Axis, add, picture, written

WIDTH, HEIGHT = 160.0, 36.0


def loss_curve(trace: Path) -> Markup | None:
    """Draw the losses of ``trace.csv``, logarithmic; None where there are fewer than two above 0."""
    with trace.open(encoding="utf-8", newline="") as stream:
        rows = [(row.get("step"), number(row.get("loss"))) for row in csv.DictReader(stream)]
    logs = [(step, math.log10(loss)) for step, loss in rows if math.isfinite(loss) and loss > 0]
    if len(logs) < 2:
        return None
    values = [value for _, value in logs]
    x = Axis(0, len(logs) - 1, 2.0, WIDTH - 2)
    y = Axis(min(values), max(values) + 1e-9, HEIGHT - 3, 3.0)
    first, last = (10**value for value in (values[0], values[-1]))
    words = f"inner loss, logarithmic: {first:.3g} at first, {last:.3g} at last, {len(logs)} iterations"
    svg = picture(WIDTH, HEIGHT, words)
    add(svg, "title", words)
    for _, step in groupby(enumerate(logs), key=lambda each: each[1][0]):
        points = " ".join(f"{x.at(i):.1f},{y.at(value):.1f}" for i, (_, value) in step)
        add(svg, "polyline", kind="line", points=points)
    return written(svg)


def number(words: str | None) -> float:
    """Read a number; NaN for anything else."""
    try:
        return float(words or "nan")
    except ValueError:
        return math.nan
