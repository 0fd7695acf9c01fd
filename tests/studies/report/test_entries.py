"""The page's table and its list of cases: what is shown, sorted by, and which direction is worse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastvmt.studies.report.entries import case_differences, cell, lines
from fastvmt.studies.rows import read_rows
from fastvmt.studies.table import Entry, StudyTable, tabulated
from helpers.studies import scored, write_run


def table_of(folder: Path, direction: str = "higher") -> StudyTable:
    """Two rows of eight references, of which the second row differs in each by another amount."""
    for job in range(2):
        values = {f"r{i}/p0/s0": 0.5 + job * 0.01 * (i - 5) for i in range(8)} | ({} if job else {"alone": 0.5})
        run = write_run(folder / "rows" / str(job), [], scored(values), {"window.l": str(job)}, job)
        content = json.loads((run / "result.json").read_text())
        content["metrics"] = {"scores": {"motion_fidelity": {"direction": direction}}}
        (run / "result.json").write_text(json.dumps(content))
    return tabulated(read_rows([folder]), ["motion_fidelity"])


def test_a_cell_has_its_difference_and_interval(tmp_path: Path) -> None:
    base, other = lines(table_of(tmp_path))
    assert base.base and not other.base and (base.n, other.n) == (9, 8)
    assert base.cells[0].shown == "0.500" and base.cells[0].below == ""
    (found,) = other.cells
    assert found.value == pytest.approx(0.485)
    assert found.below.startswith("-0.015 [-0.0") and "95 % interval" in found.told and "8 references" in found.told


def test_what_is_missing_sorts_as_missing() -> None:
    found = cell(Entry(float("nan"), 0, None), 8)
    assert (found.shown, found.value, found.below) == ("n/a", None, "")


def test_the_worst_case_is_first_by_the_scores_direction(tmp_path: Path) -> None:
    cases = [each.case for each in case_differences(table_of(tmp_path), "motion_fidelity")]
    assert cases == [f"r{i}/p0/s0" for i in range(8)]  # "alone" is of one row
    lower = case_differences(table_of(tmp_path, "lower"), "motion_fidelity")
    assert [each.case for each in lower] == cases[::-1]
    assert lower[0].difference == pytest.approx(0.02) and lower[0].anchor == "case-8"
