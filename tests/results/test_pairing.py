"""What one case id stands for in several rows: other prompts, references, sizes and judges are told."""

from __future__ import annotations

from typing import Any

import pytest

from fastvmt.results.case_record import CaseRecord
from fastvmt.results.pairing import unlike_cases, unlike_notes
from helpers.records import case_record

ODD: list[tuple[dict[str, Any], str, bool]] = [
    ({"prompt": "a cat"}, "another prompt", True),
    ({"frames_sha256": {"generated": "0", "reference": "2"}}, "another reference", True),
    ({"frames": 5, "frames_sha256": {"generated": "0", "reference": "2"}}, "another number or size of frames", False),
    ({"size": [96, 48], "frames_sha256": {"generated": "0"}}, "another number or size of frames", False),
    ({"judges": {"motion_fidelity": "k"}}, "other judges or another tracker", False),
    ({"score_versions": {"motion_fidelity": 3}}, "other judges or another tracker", False),
]


def row(count: int = 3, **changes: Any) -> list[CaseRecord]:
    """Cases of which the last has the changes."""
    return [case_record(f"r{i}/p/s0", **(changes if i == count - 1 else {})) for i in range(count)]


@pytest.mark.parametrize(("changes", "kind", "apart"), ODD)
def test_every_kind_is_told_with_its_rows_and_cases(changes: dict[str, Any], kind: str, apart: bool) -> None:
    rows = {"a": row(), "b": row(), "c": row(**changes)}
    (note,) = unlike_notes(rows, "a")
    assert note.startswith(f"{kind} than in a under the same case id in 1 of 3 cases (c: 1)")
    assert note.endswith("; these are in no difference") == apart
    assert unlike_cases(*rows.values()) == ({"r2/p/s0"} if apart else set())
    (note,) = unlike_notes(rows, "c")  # the base row is what the others are held against
    assert note.startswith(f"{kind} than in c under the same case id in 1 of 3 cases (a: 1; b: 1)")


def test_what_may_differ_is_not_told() -> None:
    free = {"frames_sha256": {"generated": "other", "reference": "1"}, "config": "d", "seed": 3, "fps": 8.0}
    more = {"judges": {"motion_fidelity": "j", "amt": "k"}, "score_versions": {"motion_fidelity": 2, "amt": 1}}
    rows = {"a": row(), "b": row(**free), "c": row(**more), "d": row(2)}
    assert unlike_notes(rows, "a") == [] and unlike_cases(*rows.values()) == set()


def test_a_case_that_the_base_row_lacks_is_held_against_the_first_row_that_has_it() -> None:
    rows = {"a": row(2), "b": row(3), "c": row(3, prompt="a cat")}
    (note,) = unlike_notes(rows, "a")
    assert "than in b under" in note and "in 1 of 3 cases (c: 1)" in note
