"""Rows of other prompts, references, sizes or trackers under one case id: no silent pairs, in no form of a table."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fastvmt.results.case_record import CaseRecord
from fastvmt.results.events import STARTED, note
from fastvmt.studies.claims import judged
from fastvmt.studies.document import caption
from fastvmt.studies.report.entries import case_differences
from fastvmt.studies.rows import read_rows
from fastvmt.studies.table import StudyTable, tabulated
from fastvmt.studies.table_command import make_table, short_table
from helpers.studies import scored, write_run


def rows_of(folder: Path, *changes: dict[str, Any], **config: object) -> StudyTable:
    """A table of a row of eight cases, and of one better by 0.1 for every map of changes; ``config`` is the last's."""
    for job, change in enumerate(({}, *changes)):
        records: list[CaseRecord] = scored({f"r{i}/p/s0": 0.1 * (i + job) for i in range(8)})
        own = config if job == len(changes) else {}
        changed = [replace(record, **change) for record in records]
        write_run(folder / "rows" / str(job), [], changed, {"skip.delta": str(job)}, job, **own)
    return tabulated(read_rows([folder]), ["motion_fidelity"])


PROMPT = {"prompt": "a cat"}
REFERENCE = {"frames_sha256": {"generated": "0", "reference": "2"}}


@pytest.mark.parametrize("change", [PROMPT, REFERENCE])
def test_cases_of_another_prompt_or_reference_are_no_pairs(tmp_path: Path, change: dict[str, Any]) -> None:
    table = rows_of(tmp_path, {}, change)
    same, other = (line[0].difference for line in table.entries[1:])
    assert same is not None and same.n == 8 and same.mean == pytest.approx(0.1)
    assert other is not None and other.n == 0 and math.isnan(other.mean)
    assert table.entries[2][0].n == 8 and not table.entries[2][0].significant  # its mean stays
    assert {each.row for each in case_differences(table, "motion_fidelity")} == {"delta=1"}
    assert judged(table, "motion_fidelity[1] > motion_fidelity[0]").verdict == "supported"
    assert judged(table, "motion_fidelity[2] > motion_fidelity[0]").why == "no case has all its terms"


def test_sizes_and_trackers_may_be_compared_and_are_told(tmp_path: Path) -> None:
    """The hash of a reference at another size tells nothing."""
    other = {"frames": 5, **REFERENCE, "judges": {"motion_fidelity": "k"}}
    table = rows_of(tmp_path, other, tracker={"_target_": "fastvmt.trackers.LkTracker"})
    difference = table.entries[1][0].difference
    assert difference is not None and difference.n == 8
    assert [note.split(" than ")[0] for note in table.doubts] == [
        "another number or size of frames",
        "other judges or another tracker",
    ]
    assert "tracker DisTracker and tracker LkTracker, CLIP tiny-clip." in caption(table)[0]


@pytest.mark.parametrize("place", [0, 1])
def test_every_form_tells_it(tmp_path: Path, place: int) -> None:
    rows_of(tmp_path, PROMPT if place else {"frames": 5})
    kind = ("another number or size of frames", "another prompt")[place]
    note = f"{kind} than in delta=0 under the same case id in 8 of 8 cases (delta=1: 8)"
    assert note in make_table([tmp_path], None, tmp_path) and note in short_table(tmp_path)
    assert note[1:] in (tmp_path / "table.tex").read_text()
    assert json.loads((tmp_path / "table.json").read_text())["doubts"][0].startswith(note)


def test_rows_that_were_cut_short_are_named(tmp_path: Path) -> None:
    rows_of(tmp_path, {})
    told = "Rows with fewer cases than they were asked for: delta=1: 8 of 9."
    for asked in (8, 9):
        note(tmp_path / "rows" / "1", STARTED, cases=asked)
        shown = make_table([tmp_path], None, tmp_path), short_table(tmp_path)
        assert all((told in each) == (asked == 9) for each in shown)
    assert told not in make_table([tmp_path], None, tmp_path, cases=["r1"])


@pytest.mark.parametrize(
    ("changes", "config", "words"),
    [
        ({"frames": 5}, {}, ["9 frames of 48 x 48 and 5 frames of 48 x 48"]),
        ({"size": [96, 48]}, {}, ["9 frames of 48 x 48 and 9 frames of 96 x 48"]),
        ({"weights": "v"}, {"backbone": {"name": "wan"}}, ["tiny-wan (weights w) and wan (weights v)"]),
        ({}, {"metrics": {"clip": {"model": "b32"}}}, ["CLIP tiny-clip and CLIP b32"]),
        ({}, {}, ["9 frames of 48 x 48, tiny-wan (weights w), tracker DisTracker, CLIP tiny-clip."]),
    ],
)
def test_the_caption_names_all_that_occurs(
    tmp_path: Path, changes: dict[str, Any], config: dict[str, Any], words: list[str]
) -> None:
    told = caption(rows_of(tmp_path, changes, **config))[0]
    assert all(each in told for each in words)
