"""What a reader is warned of, each by the study that has it and not by the one without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fastvmt.divergence import Divergence
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.events import note
from fastvmt.studies.report.warnings import warnings
from fastvmt.studies.rows import read_rows
from fastvmt.studies.table import tabulated
from helpers.records import case_record
from helpers.studies import write_run


def records(row: str, count: int = 6, **changes: Any) -> list[CaseRecord]:
    """Healthy records; the first has the changes."""
    found = [case_record(f"r{i}/p0/s0", frames_sha256={"generated": f"{row} {i}"}) for i in range(count)]
    return [replace(found[0], **changes), *found[1:]]


def told(folder: Path, first: list[CaseRecord], second: list[CaseRecord]) -> list[str]:
    """The warnings of a study of two rows."""
    for job, (l, rows) in enumerate({"3": first, "5": second}.items()):
        write_run(folder / "rows" / l, [], rows, {"window.l": l}, job)
    return warnings(tabulated(read_rows([folder])), folder)


def test_a_healthy_study_has_none(tmp_path: Path) -> None:
    assert told(tmp_path, records("a"), records("b")) == []


def contended() -> CaseRecord:
    """A record of a busy machine."""
    record = case_record("r0/p0/s0")
    return replace(record, cost=replace(record.cost, contended=True))


@pytest.mark.parametrize(
    ("second", "warning"),
    [
        (records("b", diverged=Divergence("loss", "lr")), "1 of 12 videos diverged and is in no mean (l=5: 1)."),
        (records("b", cost=contended().cost), "1 of 12 videos has no wall seconds"),
        (
            records("b", scores={"motion_fidelity": 0.5, "low_coverage": 1.0}),
            "Marked *, not to be read as it stands: coverage below a fifth in 1 of 12 cases (l=5: 1).",
        ),
        (records("b", count=5), "Row l=5 lacks 1 of 6 cases"),
        (records("a"), "Rows l=3 and l=5 are the same videos"),
        (
            records("b", maker=case_record("").maker | {"commit": "other"}),
            "Made by several commits: c0ffee (11), other",
        ),
        (records("b", maker=case_record("").maker | {"hardware": "other"}), "Made on several machines"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_else(tmp_path: Path, second: list[CaseRecord], warning: str) -> None:
    (line,) = told(tmp_path, records("a"), second)
    assert line.startswith(warning)


def test_few_references_are_told(tmp_path: Path) -> None:
    (line,) = told(tmp_path, records("a", 5), records("b", 5))
    assert line.startswith("Fewer than 6 references (5)")


def test_what_is_not_finished_is_told_first(tmp_path: Path) -> None:
    note(tmp_path / "rows" / "l=4", "failed", error="window.l=4 must be odd")
    note(tmp_path / "rows" / "l=7", "started", cases=6)
    failed, running, _ = told(tmp_path, records("a", 5), records("b", 5))
    assert failed == "Row l=4 failed: window.l=4 must be odd. Again: unknown"
    assert running == "Row l=7 is not finished: running, 0 of 6 cases."
