"""The command of tables: what it prints where nothing can be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastvmt.studies.table_command import main
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
