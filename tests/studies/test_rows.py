"""What a row's ``result.json`` says is read strictly, what is not as it was written is one line; rows have names."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fastvmt.studies.command import command
from fastvmt.studies.grid import grid_keys, varying_keys
from fastvmt.studies.rows import READ, labels, read_rows
from fastvmt.studies.table import StudyTable, tabulated
from fastvmt.studies.table_command import main
from fastvmt.sweep import ALONE, job_values, jobs_of, parsed, row_name, swept_keys
from helpers.studies import scored, write_run

KEYS = ["overrides", "row", "row.values", "row.job", "row.name", "config", "config.table.base", "cases"]
GROUPS = sorted({path.rpartition(".")[0] for path in READ})
SCORES = {f"r{i}/p/s0": 0.1 * i for i in range(8)}
PLACES = [*KEYS, *(f"config.{name}" for name in (*GROUPS, *READ))]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", [3.5, "x", [1], {"a": [1]}, True], ids=str)
def test_a_value_of_another_type_is_told_by_file_and_key(
    place: str, value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, ["seed=1"], scored({"a/p": 0.5}), {"window.l": "3"})
    file = tmp_path / "result.json"
    content = json.loads(file.read_text())
    *groups, key = place.split(".")
    node = content
    for group in groups:
        node = node.setdefault(group, {})
    node[key] = value
    file.write_text(json.dumps(content))
    code = main([str(tmp_path)])
    told = capsys.readouterr().err
    assert code in (0, 2) and told.count("\n") == (code == 2)
    if code == 2 and key not in ("score", "columns", "grid", "claims", "base"):  # of the right type, but not there
        assert str(file) in told and (key in told or key == "cases")


@pytest.mark.parametrize("cases", [[], None])
def test_a_run_without_a_case_is_told(cases: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, ["seed=1"], scored({"a/p": 0.5}))
    file = tmp_path / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"cases": cases}))
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"fastvmt.table: {file}: it has no case\n"


def test_words_keep_the_order_of_the_sweep_and_named_rows_are_their_names(tmp_path: Path) -> None:
    for job, name in enumerate(("full", "a_part")):
        write_run(tmp_path / "rows" / f"row={name}", [f"row={name}"], scored(SCORES), {"row": name}, job)
    assert labels(read_rows([tmp_path])) == ["full", "a_part"]


def test_keys_that_end_alike_are_written_whole(tmp_path: Path) -> None:
    values = {"guidance.lr": "1", "method.lr": "2"}
    write_run(tmp_path, [], scored(SCORES), values)
    assert labels(read_rows([tmp_path])) == ["guidance.lr=1, method.lr=2"]


def test_runs_outside_of_a_sweep_are_named_by_what_differs_and_never_alike(tmp_path: Path) -> None:
    write_run(tmp_path / "a", ["window.l=3", "seed=1"], scored(SCORES))
    write_run(tmp_path / "b", ["window.l=5", "seed=1"], scored(SCORES))
    assert labels(read_rows([tmp_path])) == ["window.l=3", "window.l=5"]
    write_run(tmp_path / "b", ["window.l=3", "seed=1"], scored(SCORES))
    assert labels(read_rows([tmp_path])) == ["default (a)", "default (b)"]


def test_a_single_run_and_sweeps_of_other_words_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    write_run(tmp_path, ["method=none"], scored(SCORES))
    for job, (delta, steps) in enumerate({"1": 3, "2": 4}.items()):
        words = [f"skip.delta={delta}", f"sampler.steps={steps}"]
        write_run(tmp_path / "rows" / f"delta={delta}", words, scored(SCORES), {"skip.delta": delta}, job)
    assert len(read_rows([tmp_path])) == 3
    rows = [row for row in read_rows([tmp_path]) if row.values]
    assert labels(rows) == ["delta=1, sampler.steps=3", "delta=2, sampler.steps=4"]


Values = dict[str, str]
BESIDE = [{"row": "shared_pass"}, {"row": "none"}]


def study_of(folder: Path, rows: list[Values], words: list[str], base: Values | None = None) -> StudyTable:
    """A table of rows with these values, told the same ``words``."""
    for job, values in enumerate(rows):
        told = [*words, *(f"{key}={value}" for key, value in values.items())]
        write_run(folder / f"rows/{job}", told, scored(SCORES), values, job, table={"base": base or {}})
    return tabulated(read_rows([folder]), ["motion_fidelity"])


def deltas(*values: str) -> list[Values]:
    return [{"skip.delta": value} for value in values]


def test_rows_beside_a_grid_come_after_it_and_are_named_by_what_they_are(tmp_path: Path) -> None:
    table = study_of(tmp_path, [*deltas("1", "10", "3"), *BESIDE], ["seed=1"])
    assert table.names == ["delta=1", "delta=3", "delta=10", "shared_pass", "none"]
    assert varying_keys(table) == ["skip.delta"]
    two = [{"skip.delta": delta, "window.l": l} for delta in "13" for l in "35"]
    assert grid_keys(study_of(tmp_path / "two", [*two, *BESIDE], [])) == ["skip.delta", "window.l"]


@pytest.mark.parametrize(
    ("rows", "params"),
    [
        ([*deltas("1", "3", "10"), *BESIDE], {"skip.delta": "1,2,3"}),
        ([*deltas("1", "3"), *BESIDE, {"row": "fast"}], {"skip.delta": "1,2,3"}),  # more beside it than in it
        ([*deltas("1", "3"), {"method": "none"}, {"row": "fast"}, {"method": "'it\\'s, \"here\"'"}], {}),
        ([*deltas("1", "3"), {"window.l": "1"}, {"window.l": "3"}], {}),  # two sweeps into one folder
        ([{"backbone": m, **row} for m in "ab" for row in (*deltas("1", "3"), *BESIDE)], {"skip.delta": "1,2,3"}),
        (deltas("1", "3"), {}),
    ],
)
def test_the_command_of_a_table_makes_its_rows(tmp_path: Path, rows: list[Values], params: dict[str, str]) -> None:
    told = command(study_of(tmp_path, rows, ["seed=1"], rows[0]))
    program, script, option, *words = shlex.split(told)
    assert (program, script, option) == ("python", "run.py", "-m") and "&&" not in words
    beside = [OmegaConf.create(parsed([word])[0].value()) for word in words if word.startswith("hydra.sweeper.beside=")]
    sweeper = {"_target_": "GridSweeper", "params": params, "beside": [word for each in beside for word in each]}
    words = [word for word in words if not word.startswith("hydra")]
    hydra = {"sweeper": sweeper, "overrides": {"task": words}}
    jobs = jobs_of(OmegaConf.create({"hydra": hydra}))
    found = [job_values(swept_keys(words), sweeper, job) for job in jobs]
    assert sorted(map(row_name, found)) == sorted(map(row_name, rows))
    assert all("seed=1" in job for job in jobs)


def test_what_one_command_cannot_make_is_told_as_several(tmp_path: Path) -> None:
    table = study_of(tmp_path, [*deltas("1", "3"), {"window.l": "3", "window.sf": "2"}], [])
    write_run(tmp_path, ["method=none"], scored(SCORES))
    assert command(table) == "python run.py -m skip.delta=1,3 && python run.py -m window.l=3 window.sf=2"
    table = tabulated(read_rows([tmp_path]), ["motion_fidelity"])
    assert command(table).startswith("python run.py method=none && python run.py -m skip.delta=1,3 && ")


def test_an_experiment_sweeps_nothing_of_its_own_beside_what_was_told(tmp_path: Path) -> None:
    """Rows beside that were left out stay out, and rows of other seeds are commands of their own."""
    experiment = "experiment=table_delta"
    told = command(study_of(tmp_path / "out", deltas("1", "3"), [experiment]))
    assert told == f"python run.py -m {experiment} skip.delta=1,3 hydra/sweeper=grid 'hydra.sweeper.beside=[]'"
    assert "sweeper" not in command(study_of(tmp_path / "main", [{"row": "fast"}], ["experiment=table_main"]))
    rows = [("1", "0"), ("2", "0"), ("3", "1")]
    for job, (delta, seed) in enumerate(rows):
        words = [experiment, f"seeds=[{seed}]", f"skip.delta={delta}"]
        words = words[:: -1 if job == 1 else 1]  # whatever their order
        write_run(tmp_path / "own/rows" / delta, words, scored(SCORES), {"skip.delta": delta}, job)
    first, second = command(tabulated(read_rows([tmp_path / "own"]), ["motion_fidelity"])).split(" && ")
    assert shlex.split(first)[3:] == [experiment, "seeds=[0]", "skip.delta=1,2", ALONE[0], "hydra.sweeper.beside=[]"]
    assert shlex.split(second)[3:] == [experiment, "seeds=[1]", "skip.delta=3", *ALONE]
