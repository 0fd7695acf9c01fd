"""The command of tables and the short one of terminals: what they print, also where nothing can be written."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fastvmt.studies.table_command import main, short_table
from helpers.records import case_record
from helpers.studies import scored, write_run


def test_a_table_that_cannot_be_written_is_printed_before_the_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "study", ["window.l=3"], scored({"r0/p/s0": 0.5}))
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "study"), "--output", str(tmp_path / "file")]) == 2
    printed = capsys.readouterr()
    assert "motion fidelity" in printed.out and "written" not in printed.out
    assert printed.err.startswith(f"fastvmt.table: --output {tmp_path / 'file'}: it cannot be written to (")
    assert printed.err.count("\n") == 1 and printed.err.endswith("name another folder\n")


def test_the_terminal_leaves_out_what_no_case_has_and_puts_coverage_beside_fidelity(tmp_path: Path) -> None:
    spec = {"columns": ["motion_fidelity", "trajectory_cosine", "loop_seconds", "coverage"]}
    scores = {"motion_fidelity": 0.5, "trajectory_cosine": math.nan, "coverage": 0.3, "low_coverage": 1.0}
    records = [case_record(f"r{i}/p/s0", scores=scores) for i in range(3)]
    for chosen in (spec, {}):
        write_run(tmp_path / "rows" / "l=3", [], records, {"window.l": "3"}, table=chosen)
        told = short_table(tmp_path)
        assert (
            told.startswith("| row | n | motion fidelity | coverage |") and "| `l=3` | 3 | 0.500\\* | 0.300 |" in told
        )
        head, *_ = told.splitlines()
        assert "loop seconds" in head and "trajectory" not in head and head.count("coverage") == 1
        assert "Not shown, n/a for every case: trajectory cosine." in told and "coverage below a fifth" in told
