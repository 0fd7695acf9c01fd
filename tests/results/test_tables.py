"""What a run prints: coverage beside motion fidelity, signs of what is not to be read, what is n/a by its reason."""

from __future__ import annotations

import math

import pytest
from rich.table import Table

from fastvmt.results.doubts import doubt_notes, doubted, signs
from fastvmt.results.tables import by_reason, mean_table, score_table
from helpers.records import case_record

HEADLINE = {"motion_fidelity": "motion", "temporal_consistency": "temporal"}
GOOD = {
    "motion_fidelity": 0.8,
    "temporal_consistency": 0.9,
    "speed": 0.1,
    "coverage": 0.75,
    "coverage_reference": 0.5,
    "low_coverage": 0.0,
    "static_fraction": 0.2,
    "static_fraction_reference": 0.1,
}
"""Nothing to doubt."""


def texts(table: Table, column: int) -> list[str]:
    return [str(cell) for cell in table.columns[column].cells]


@pytest.mark.parametrize(
    ("changed", "column", "sign"),
    [
        ({"low_coverage": 1.0}, "motion_fidelity", "*"),
        ({"low_coverage": 1.0, "motion_fidelity": math.nan}, "motion_fidelity", ""),
        ({"low_coverage": 1.0}, "temporal_consistency", ""),
        ({"low_coverage": math.nan, "static_fraction": math.nan}, "motion_fidelity", ""),
        ({"static_fraction_reference": 0.95, "low_coverage": 1.0}, "motion_fidelity", "*+"),
        ({"static_fraction": 0.95}, "temporal_consistency", "="),
        ({"static_fraction": 0.95}, "motion_fidelity", ""),
        ({}, "motion_fidelity", ""),
    ],
)
def test_what_is_not_to_be_read_has_its_sign(changed: dict[str, float], column: str, sign: str) -> None:
    assert signs([GOOD | changed], column) == "".join(d.sign for d in doubted(GOOD | changed, column)) == sign
    assert signs([GOOD, GOOD | changed], column) == sign


def test_notes_count_cases_and_name_the_rows_of_several() -> None:
    low = GOOD | {"low_coverage": 1.0}
    (note,) = doubt_notes({"": [GOOD, low, low]}, ["motion_fidelity"])
    assert note == "marked *, not to be read as it stands: coverage below a fifth in 2 of 3 cases"
    (note,) = doubt_notes({"full": [GOOD, GOOD], "sdedit": [low, GOOD]}, ["motion_fidelity", "motion_fidelity_dynamic"])
    assert note.endswith("coverage below a fifth in 1 of 4 cases (sdedit: 1)")
    assert doubt_notes({"": [low]}, ["speed"]) == doubt_notes({"": [GOOD]}, list(GOOD)) == []


def test_the_smaller_coverage_stands_beside_motion_fidelity() -> None:
    records = [case_record("a", scores=GOOD), case_record("b", scores=GOOD | {"low_coverage": 1.0, "coverage": 0.1})]
    table = score_table(records, HEADLINE)
    assert [str(column.header) for column in table.columns[1:]] == ["motion", "coverage", "temporal", "seconds"]
    assert texts(table, 1) == ["0.800", "0.800*"] and texts(table, 2) == ["0.500", "0.100"]
    assert "coverage below a fifth in 1 of 2 cases" in str(table.caption)
    plain = score_table([case_record("a", scores={"motion_fidelity": 0.5})], HEADLINE)
    assert len(plain.columns) == 4 and plain.caption is None


def test_means_have_signs_and_coverage_too() -> None:
    records = [case_record("a", scores=GOOD), case_record("b", scores=GOOD | {"low_coverage": 1.0})]
    table = mean_table(records)
    assert texts(table, 0)[:3] == ["motion fidelity", "coverage", "coverage reference"]
    assert texts(table, 1)[0] == "0.800*" and texts(table, 1)[1] == "0.750"
    assert str(table.caption).startswith("marked *, ")


def test_what_no_case_has_is_told_briefly_by_its_reason() -> None:
    missing = {f"score_{i}": math.nan for i in range(5)} | {"other": math.nan}
    notes = dict.fromkeys(missing, "no mask of the subject") | {"other": "the true motion is not known"}
    records = [case_record("a", scores=GOOD | missing, notes=notes)]
    first, second = by_reason(records, [name.replace("_", " ") for name in missing])
    assert first == "score 0, score 1, score 2 and 2 more (no mask of the subject)"
    assert second == "other (the true motion is not known)"
    told = str(mean_table(records).caption)
    assert first in told and "(not measured here)" in told and not set(missing) & set(texts(mean_table(records), 0))
