"""What all rows of a sweep would cost together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastvmt.engine.forecast import Forecast, clock


@dataclass(frozen=True)
class PlannedRow:
    """One row's forecast."""

    name: str
    key: str | None
    """The same for rows with the same videos; None: the row makes its own."""
    forecast: Forecast
    kept: int
    """Cases that are there already."""


def total_line(rows: Sequence[PlannedRow]) -> str:
    """Sum the cells and the time of rows, of those with the same videos the first, which makes them."""
    alike: dict[str | int, list[PlannedRow]] = {}
    for i, row in enumerate(rows):
        alike.setdefault(i if row.key is None else row.key, []).append(row)
    once = [group[0] for group in alike.values()]
    kept = sum(row.kept for row in once)
    seconds = [row.forecast.all_seconds for row in once]
    known = [each for each in seconds if each is not None]
    unknown = len(seconds) - len(known)
    words = [
        f"{len(rows)} rows",
        f"{sum(row.forecast.cases for row in once)} cells{f', of which {kept} are kept already' if kept else ''}",
        f"no time, {unknown} not calibrated" if unknown else f"{clock(sum(known))} for all on one device, calibrated",
        *(
            f"made once, with the same videos: {' and '.join(row.name for row in group)}"
            for group in alike.values()
            if group[1:]
        ),
    ]
    return f"plan of all rows: {'; '.join(words)}"
