"""A table of runs: rows named by what differs, paired differences, four forms that agree."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from fastvmt.files import write_json
from fastvmt.results.case_record import VERSION
from fastvmt.results.command import main, make_table
from fastvmt.results.forms import latex, markdown
from fastvmt.results.pivot import cells, labels, read_rows
from helpers.records import case_record


def write_run(folder: Path, overrides: list[str], values: dict[str, float]) -> Path:
    """A finished run of one score."""
    records = [case_record(i, scores={"motion_fidelity": value, "absent": float("nan")}) for i, value in values.items()]
    write_json(
        folder / "result.json",
        {"version": VERSION, "overrides": overrides, "cases": [record.to_json() for record in records]},
    )
    return folder


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two jobs on eight references, the second better by 0.1 in each but one."""
    base = {f"r{i}/p/s0": 0.1 * i for i in range(8)}
    better = {case: value + (0.1 if case != "r0/p/s0" else 0.05) for case, value in base.items()}
    write_run(tmp_path / "0", ["window.l=3", "seed=1", f"output_dir={tmp_path}"], base)
    write_run(tmp_path / "1", ["window.l=5", "seed=1", f"output_dir={tmp_path}"], better)
    return tmp_path


def test_rows_are_named_by_the_overrides_in_which_they_differ(sweep: Path) -> None:
    assert labels(read_rows([sweep])) == ["window.l=3", "window.l=5"]
    assert labels(read_rows([sweep / "0"])) == ["window.l=3, seed=1"]


def test_cells_are_means_and_paired_differences(sweep: Path) -> None:
    (first,), (second,) = cells(read_rows([sweep]), ["motion_fidelity"])
    assert first.mean == pytest.approx(0.35) and first.n == 8 and first.difference is None
    assert second.difference is not None
    assert second.difference.mean == pytest.approx((7 * 0.1 + 0.05) / 8)
    assert 0.05 <= second.difference.low <= second.difference.high <= 0.1 + 1e-9
    assert second.significant and not first.significant


def test_the_four_forms_agree(sweep: Path) -> None:
    written = make_table([sweep], None, sweep)
    assert "absent" not in written  # what no run could measure is no column
    assert "| `window.l=5` | 8 | **0.444** |" in written
    assert written == (sweep / "table.md").read_text()
    rows = list(csv.DictReader((sweep / "table.csv").open()))
    content = json.loads((sweep / "table.json").read_text())["rows"]
    for line, row in zip(rows, content, strict=True):
        assert line["row"] == row["row"]
        assert float(line["motion_fidelity_mean"]) == row["cells"]["motion_fidelity"]["mean"]
    assert r"window.l=5 & 8 & \textbf{0.444}" in (sweep / "table.tex").read_text()


def test_hostile_names_stay_text(sweep: Path) -> None:
    body = cells(read_rows([sweep]), ["motion_fidelity"])
    names = ["a|b", r"50% of $x_1$ & {y} \end{tabular}"]
    assert r"a\|b" in markdown(names, ["motion_fidelity"], body)
    assert r"50\% of \$x\_1\$ \& \{y\} \textbackslash{}end\{tabular\}" in latex(names, ["motion_fidelity"], body)


def test_what_is_not_there_is_one_line(tmp_path: Path, sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "0" / "cases"
    empty.mkdir()
    assert main([str(empty)]) == 2
    assert "holds no finished run" in capsys.readouterr().err
    assert main([str(sweep), "--columns", "nope"]) == 2
    assert "--columns nope: the runs have motion_fidelity" in capsys.readouterr().err
    (sweep / "1" / "result.json").write_text("{")
    assert main([str(sweep)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastvmt.table: ") and "result.json" in error and error.count("\n") == 1
