"""What all rows of a sweep would cost: a sum over cells, not over rows."""

from __future__ import annotations

from fastvmt.engine.forecast import Forecast
from fastvmt.engine.plan_total import PlannedRow, total_line
from fastvmt.types import PassCounter


def row(name: str, key: str | None, seconds: float | None = 60.0, kept: int = 0) -> PlannedRow:
    """A row of ten cases that read one reference, for half of a case's seconds."""
    reading = None if seconds is None else seconds / 2
    none = PassCounter(0)
    found = Forecast(10, none, 1, none, None, None, None, seconds, reading, "" if seconds else "no weights")
    return PlannedRow(name, key, found, kept)


def test_rows_with_the_same_videos_count_once_as_the_first() -> None:
    told = total_line([row("l=0,tile=[2,2]", "a"), row("l=0,tile=[3,4]", "a", 600.0), row("l=3", "b", kept=4)])
    assert told == (
        "plan of all rows: 3 rows; 20 cells, of which 4 are kept already; 21.0 min for all on one device, calibrated; "
        "made once, with the same videos: l=0,tile=[2,2] and l=0,tile=[3,4]"
    )


def test_rows_that_make_their_own_videos_count_each_whatever_their_names() -> None:
    told = total_line([row("seed=0", None), row("seed=0", None), row("seed=1", "a"), row("seed=1", "a")])
    assert told.startswith("plan of all rows: 4 rows; 30 cells; ") and told.endswith("videos: seed=1 and seed=1")


def test_without_every_calibration_there_is_no_time() -> None:
    told = total_line([row("a", "a"), row("b", "b", None)])
    assert told == "plan of all rows: 2 rows; 20 cells; no time, 1 not calibrated"
