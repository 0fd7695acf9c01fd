"""The check of all tables: what LaTeX would refuse, which rows are equal, what is named as a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.checks.tables import equal_rows, failures, file_faults, told_equal
from experiments.checks.tex import tex_faults
from fastvmt.studies.rows import Row, read_rows
from fastvmt.studies.table_command import make_table
from helpers.records import case_record
from helpers.studies import scored, write_run

TABULAR = r"""% needs \usepackage{booktabs}, 100 {
\begin{table}
\caption{50\% of \{a\_b\} \& c, \textbackslash{}x.}
\begin{tabular}{lrr}
\toprule
row & $n$ & text \\
\midrule
a \& b & 4 & \textbf{0.5} \\
\bottomrule
\end{tabular}
\end{table}
"""


def test_a_sound_table_has_no_faults() -> None:
    assert tex_faults(TABULAR) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("{0.5}", "{0.5", "a brace is never closed"),
        ("{0.5}", "0.5}}", "a brace closes that was not opened"),
        ("$n$", "$n", "a dollar is alone"),
        (r"\end{table}", "", r"\begin{table} is never closed"),
        (r"\end{tabular}", r"\end{table}", r"\end{table} closes nothing"),
        (r"a \& b", "a & b", r"4 cells, not 3: a & b & 4 & \textbf{0.5}"),
        ("4 & ", "", r"2 cells, not 3: a  b & \textbf{0.5}"),
        (r"{0.5} \\", "{0.5}", r"a line without its end: a  b & 4 & \textbf{0.5}"),
        (r"a\_b", "a_b", "a raw _"),
    ],
)
def test_what_latex_would_refuse_is_named(old: str, new: str, fault: str) -> None:
    assert fault in tex_faults(TABULAR.replace(old, new))


def row(name: str, *hashes: str) -> Row:
    records = tuple(case_record(str(i), frames_sha256={"generated": each}) for i, each in enumerate(hashes))
    return Row(Path(name), (), records, {}, 0, {})


def test_equal_rows_are_named_and_whether_that_was_told() -> None:
    rows = [row("a", "1", "2"), row("b", "1", "3"), row("c", "1", "2")]
    told = told_equal("[WARNING] - rows with the same videos, which are made once: a; c\nmore\n")
    assert equal_rows(rows, told) == [
        {"rows": ["a", "b"], "equal": 1, "cases": 2, "told": False},
        {"rows": ["a", "c"], "equal": 2, "cases": 2, "told": True},
        {"rows": ["b", "c"], "equal": 1, "cases": 2, "told": False},
    ]


def test_files_are_read_as_they_are_written(tmp_path: Path) -> None:
    for job, l in enumerate("35"):
        values = {f"r{i}/p0/s0": 0.1 * i + job for i in range(7)}
        write_run(tmp_path / "rows" / f"l={l}", [], scored(values), {"window.l": l}, job)
    make_table([tmp_path], None, tmp_path)
    assert len(read_rows([tmp_path])) == 2 and file_faults(tmp_path) == []
    (tmp_path / "table.csv").write_text("row,a\nl=3\n")
    assert file_faults(tmp_path) == ["table.csv: its lines are uneven, or not one for each row"]
    (tmp_path / "table.tex").unlink()
    assert file_faults(tmp_path) == ["table.tex is missing"]


def test_failures_are_what_was_not_told() -> None:
    pair = {"rows": ["a", "b"], "equal": 1, "cases": 2}
    good = {"code": 0, "diverged": 0, "files": [], "equal": [pair | {"told": True}]}
    assert failures({"x": good}, {"merge": ""}) == []
    bad = {"code": 0, "diverged": 1, "files": ["table.md is missing"], "equal": [pair | {"told": False}]}
    assert failures({"x": bad, "y": {"code": 1, "error": "e"}}, {"merge": "e"}) == [
        "y: exit code 1",
        "x: table.md is missing",
        "x: 1 diverged",
        "x: a and b are equal in 1 of 2 cases",
        "fastvmt.merge: e",
    ]
