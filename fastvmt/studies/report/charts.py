"""The charts of a study: fidelity against cost, a score over one swept key, a score over two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from markupsafe import Markup

from fastvmt.results.statistics import compare
from fastvmt.studies.forms import text
from fastvmt.studies.grid import Grid, grid_rows
from fastvmt.studies.quantities import RATIO, Column
from fastvmt.studies.report.svg import Axis, add, axes, axis_of, picture, written
from fastvmt.studies.rows import number
from fastvmt.studies.table import StudyTable

WIDTH, HEIGHT = 460.0, 320.0
"""Of a chart, in its own units; a heat map is as high as its rows need."""
LEFT, RIGHT, TOP, BOTTOM = 52.0, 24.0, 32.0, 46.0
LINE = 13.0
"""Height of a line of words."""
LETTER = 6.5
"""Width of a letter, about."""
CELL = 64.0, 34.0
"""Width and height of a cell of a heat map."""


@dataclass(frozen=True)
class Estimate:
    """A mean over cases with its 95 % interval, references resampled; NaN from few references."""

    mean: float
    low: float
    high: float

    @property
    def known(self) -> list[float]:
        """List what can be drawn."""
        return [value for value in (self.mean, self.low, self.high) if math.isfinite(value)]

    def __str__(self) -> str:
        """Write mean and interval."""
        return text(self.mean) + (f" [{text(self.low)}, {text(self.high)}]" if math.isfinite(self.low) else "")


def estimate(values: Column) -> Estimate:
    """Estimate a column's mean: the paired comparison with nothing."""
    found = compare(values, dict.fromkeys(values, 0.0))
    return Estimate(found.mean, found.low, found.high)


Place = tuple[float, Estimate, str]
"""Where a row stands on a swept number, its estimate and its name."""


@dataclass(frozen=True)
class Point:
    """A row in the plane of two columns."""

    name: str
    x: Estimate
    y: Estimate
    base: bool


def trade_off(table: StudyTable) -> Markup | None:
    """Draw the table's score against the loop's ratio; None where fewer than two rows have both."""
    name = table.spec.score
    points = []
    for i, row in enumerate(table.names):
        point = Point(row, estimate(table.values(i, RATIO)), estimate(table.values(i, name)), i == table.base)
        if math.isfinite(point.x.mean) and math.isfinite(point.y.mean):
            points.append(point)
    return scatter(points, ("loop ratio (less is faster)", name.replace("_", " "))) if len(points) > 1 else None


def scatter(points: Sequence[Point], labels: tuple[str, str]) -> Markup:
    """Draw points with their intervals and names."""
    svg = picture(WIDTH, HEIGHT, f"{labels[1]} against {labels[0]}")
    x = axis_of([value for point in points for value in point.x.known], LEFT, WIDTH - RIGHT)
    y = axis_of([value for point in points for value in point.y.known], HEIGHT - BOTTOM, TOP)
    axes(svg, x, y, labels)
    heights = spread([y.at(point.y.mean) for point in points])
    for point, height in zip(points, heights, strict=True):
        group = add(svg, "g", kind="base" if point.base else "row")
        add(group, "title", f"{point.name}: {labels[1]} {point.y}, {labels[0]} {point.x}")
        across, up = x.at(point.x.mean), y.at(point.y.mean)
        bar(group, (x.at(point.x.low), up), (x.at(point.x.high), up))
        bar(group, (across, y.at(point.y.low)), (across, y.at(point.y.high)))
        add(group, "circle", kind="dot", cx=across, cy=up, r=4)
        right = across > (x.start + x.end) / 2  # the name stands where there is room
        place = {"x": across - 8, "text_anchor": "end"} if right else {"x": across + 8}
        add(group, "text", point.name, kind="name", y=height - 5, **place)
    return written(svg)


def bar(parent: Element, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an interval, where there is one."""
    if all(map(math.isfinite, (*start, *end))):
        add(parent, "line", kind="bar", x1=start[0], y1=start[1], x2=end[0], y2=end[1])


def spread(heights: Sequence[float]) -> list[float]:
    """Move lines of words up, from the lowest on, until none covers another."""
    found = list(heights)
    last = math.inf
    for i in sorted(range(len(heights)), key=lambda i: -heights[i]):
        last = found[i] = min(heights[i], last - LINE)
    return found


def over_key(table: StudyTable, key: str, name: str) -> Markup | None:
    """Draw a column over a swept key whose values are numbers, and level lines for rows beside the grid.

    None where the values are no numbers, or fewer than two rows have the column.
    """
    grid = grid_rows(table)
    points: list[Place] = []
    beside: list[Place] = []
    for i, row in enumerate(table.rows):
        place, each = number(row.values.get(key, "")), estimate(table.values(i, name))
        if row in grid and place is None:
            return None
        if each.known:
            (points if row in grid else beside).append((place or 0.0, each, table.names[i]))
    points.sort(key=lambda point: point[0])
    return line(points, beside, (key, name.replace("_", " "))) if len(points) > 1 else None


def line(points: Sequence[Place], beside: Sequence[Place], labels: tuple[str, str]) -> Markup:
    """Draw a line through means, with their intervals, and the means of rows that have no place on it."""
    svg = picture(WIDTH, HEIGHT, f"{labels[1]} over {labels[0]}")
    x = axis_of([place for place, *_ in points], LEFT, WIDTH - RIGHT)
    means = [each.mean for _, each, _ in beside]
    y = axis_of([*(value for _, each, _ in points for value in each.known), *means], HEIGHT - BOTTOM, TOP)
    axes(svg, x, y, labels)
    path = " ".join(f"{x.at(place):.1f},{y.at(each.mean):.1f}" for place, each, _ in points)
    add(svg, "polyline", kind="line", points=path)
    for (_, each, row), height in zip(beside, spread([y.at(mean) for mean in means]), strict=True):
        level = add(svg, "g", kind="beside")
        add(level, "title", f"{row}: {each}")
        add(level, "line", kind="bar", x1=x.start, x2=x.end, y1=y.at(each.mean), y2=y.at(each.mean))
        add(level, "text", row, kind="name", x=x.end, y=height - 4, text_anchor="end")
    for place, each, _ in points:
        group = add(svg, "g", kind="row")
        add(group, "title", f"{labels[0]} = {place:g}: {each}")
        bar(group, (x.at(place), y.at(each.low)), (x.at(place), y.at(each.high)))
        add(group, "circle", kind="dot", cx=x.at(place), cy=y.at(each.mean), r=4)
    return written(svg)


def heat_map(grid: Grid) -> Markup:
    """Draw a column over two swept keys: the fuller a cell, the higher its mean."""
    known = [entry.mean for entry in grid.means.values() if math.isfinite(entry.mean)]
    shade = Axis(min(known), max(known), 0.05, 0.5) if len(set(known)) > 1 else Axis(-1.0, 1.0, 0.3, 0.3)
    name = grid.column.replace("_", " ")
    words = f"{name}: {grid.keys[0]} down, {grid.keys[1]} across"
    left, top = 16 + LETTER * max(map(len, grid.rows)), 2 * LINE + 24
    width = max(left + CELL[0] * len(grid.columns), LETTER * len(words)) + 8
    svg = picture(width, top + CELL[1] * len(grid.rows) + 8, f"{name} over {' and '.join(grid.keys)}")
    add(svg, "text", words, kind="label", x=4, y=LINE)
    for across, column in enumerate(grid.columns):
        add(svg, "text", column, kind="tick", x=left + (across + 0.5) * CELL[0], y=top - 6, text_anchor="middle")
    for down, row in enumerate(grid.rows):
        middle = top + (down + 0.5) * CELL[1]
        add(svg, "text", row, kind="tick", x=left - 8, y=middle + 4, text_anchor="end")
        for across, column in enumerate(grid.columns):
            entry = grid.means.get((row, column))
            if entry is not None and math.isfinite(entry.mean):
                group = add(svg, "g")
                add(group, "title", f"{grid.keys[0]}={row}, {grid.keys[1]}={column}: {text(entry.mean)} (n {entry.n})")
                tile(group, (left + (across + 0.5) * CELL[0], middle), text(entry.mean), shade.at(entry.mean))
    return written(svg)


def tile(parent: Element, centre: tuple[float, float], words: str, shade: float) -> None:
    """Draw a cell of a heat map."""
    x, y = centre[0] - CELL[0] / 2 + 1, centre[1] - CELL[1] / 2 + 1
    add(parent, "rect", kind="heat", fill_opacity=f"{shade:.2f}", x=x, y=y, width=CELL[0] - 2, height=CELL[1] - 2)
    add(parent, "text", words, kind="name", x=centre[0], y=centre[1] + 4, text_anchor="middle")
