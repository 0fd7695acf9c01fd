"""What samples of a loop come to: medians over repeats, without seconds that others have disturbed."""

from __future__ import annotations

import csv
import math

import pytest

from fastvmt.studies.timings import Sample, timings, timings_csv


def sample(row: str, case: str, repeat: int, seconds: float, *, contended: bool = False, plain: float = 2.0) -> Sample:
    """A sample whose CPU seconds are twice its wall seconds, unless others stretched these."""
    cpu = 2 * seconds / (10 if contended else 1)
    return Sample(row, case, repeat, seconds, cpu, contended, plain, 2 * plain, False)


SAMPLES = [
    *(sample("a", "x", i, seconds) for i, seconds in enumerate((3.0, 4.0, 90.0))),
    *(sample("a", "y", i, seconds, contended=i == 2) for i, seconds in enumerate((5.0, 7.0, 60.0))),
    *(sample("b", "x", i, 20.0, contended=True) for i in range(2)),
    sample("c", "x", 0, math.nan),
]

THREADS = {"a": 4, "b": 2, "c": 4}


def test_medians_by_case_without_contended_seconds() -> None:
    a, b, c = timings(SAMPLES, "a processor", THREADS, on_cpu=True)
    assert (a.row, a.n, a.contended, a.hardware, a.threads) == ("a", 6, 1, "a processor", 4)
    assert (b.threads, c.threads) == (2, 4)
    assert a.loop_seconds == pytest.approx((4.0 + 6.0) / 2)
    assert a.loop_cpu_seconds == pytest.approx((8.0 + 12.0) / 2)
    assert a.ratio == pytest.approx((8.0 / 4.0 + 12.0 / 4.0) / 2)
    assert math.isnan(b.loop_seconds) and b.contended == 2 and b.ratio == pytest.approx(1.0)
    assert math.isnan(c.ratio) and c.n == 1


def test_on_a_gpu_ratios_are_of_undisturbed_seconds() -> None:
    a, b, _ = timings(SAMPLES, "a card", THREADS, on_cpu=False)
    assert a.ratio == pytest.approx((4.0 / 2.0 + 6.0 / 2.0) / 2) and math.isnan(b.ratio)


def test_csv_has_every_row_in_full_precision() -> None:
    found = timings(SAMPLES, "a, processor", THREADS, on_cpu=True)
    rows = list(csv.DictReader(timings_csv(found).splitlines()))
    assert [row["row"] for row in rows] == ["a", "b", "c"] and rows[1]["loop_seconds"] == ""
    assert float(rows[0]["ratio"]) == found[0].ratio and rows[0]["hardware"] == "a, processor"
