"""A column over two swept keys: in every form, where there can be one, and otherwise the reason why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastvmt.studies.grid import grid_keys, grid_of
from fastvmt.studies.rows import read_rows
from fastvmt.studies.table import tabulated
from fastvmt.studies.table_command import main, make_table, short_table
from helpers.records import case_record
from helpers.studies import scored, write_run

PAIRS = ((3, 1), (3, 2), (5, 1))


def write_sweep(folder: Path, pairs: tuple[tuple[int, int], ...] = PAIRS, **table: object) -> Path:
    """A sweep of ``window.l`` and ``skip.delta``, a tenth better from row to row."""
    for job, (l, delta) in enumerate(pairs):
        records = scored({f"r{i}/p/s0": 0.1 * (i + job) for i in range(8)})
        values = {"skip.delta": str(delta), "window.l": str(l)}
        write_run(folder / "rows" / str(job), [f"seed={job}"], records, values, job, table=table)
    return folder


def test_a_grid_arranges_two_keys(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    grid = grid_of(tabulated(read_rows([tmp_path])), ["window.l", "skip.delta"], "motion_fidelity")
    assert (grid.rows, grid.columns) == (["3", "5"], ["1", "2"])
    assert grid.means["3", "1"].mean == pytest.approx(0.35) and ("5", "2") not in grid.means
    written = make_table([tmp_path], ["gradients"], tmp_path, grid=("window.l", "skip.delta"), score="motion_fidelity")
    assert "| `window.l=5` | 0.550 |  |" in written


def test_a_sweep_of_two_keys_ends_with_their_grid_in_the_files_and_the_terminal(tmp_path: Path) -> None:
    written = make_table([write_sweep(tmp_path)], None, tmp_path)
    line = "| `skip.delta=1` | 0.350 | 0.550 |"
    assert line in written and line in short_table(tmp_path)
    assert json.loads((tmp_path / "table.json").read_text())["grid"][0][:2] == ["1", "3"]


def test_numbers_of_a_grid_are_in_their_order_whatever_is_missing(tmp_path: Path) -> None:
    write_sweep(tmp_path, ((3, 5), (5, 10), (5, 2), (21, 5)))
    grid = grid_of(tabulated(read_rows([tmp_path])), ["window.l", "skip.delta"], "motion_fidelity")
    assert (grid.rows, grid.columns) == (["3", "5", "21"], ["2", "5", "10"])


def test_a_score_without_a_grid_to_show_it_in_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(tmp_path, PAIRS[:2])
    for score in ("nonsense", "motion_fidelity"):
        assert main([str(tmp_path), "--score", score]) == 2
        assert f"--score {score}: it is of a grid, and the runs have none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pairs", "keys"),
    [
        (PAIRS, ["skip.delta", "window.l"]),
        (((3, 1), (3, 2)), []),
        (tuple((i, i + 1) for i in range(4)), []),  # of a search, which fills no grid
    ],
)
def test_the_keys_of_a_sweep_that_fills_a_grid(
    tmp_path: Path, pairs: tuple[tuple[int, int], ...], keys: list[str]
) -> None:
    assert grid_keys(tabulated(read_rows([write_sweep(tmp_path, pairs)]))) == keys


def test_two_sweeps_of_one_key_each_have_none(tmp_path: Path) -> None:
    for key in ("skip.delta", "window.l"):
        for value in ("1", "3"):
            write_run(tmp_path / "rows" / f"{key}={value}", [], scored({"r0": 0.5}), {key: value})
    _, told = make_table([tmp_path], None, tmp_path).split("\n", 1)  # after the command
    assert "grid" not in told.lower()


def test_a_grid_that_cannot_be_is_left_out_and_said(tmp_path: Path) -> None:
    """Not so where the command line asks for it."""
    spec = {"grid": ["window.l", "skip.delta"], "columns": ["motion_fidelity", "gradients"]}
    for job, (l, delta) in enumerate(PAIRS):
        values = {"skip.delta": str(delta), "window.l": str(l)}
        write_run(tmp_path / "rows" / str(job), [], [case_record("r0/p/s0", scores={})], values, job, table=spec)
    written = make_table([tmp_path], None, tmp_path)
    told = "No grid of motion fidelity over window.l and skip.delta: the runs have gradients, "
    assert told in written.replace("\\", "") and told in short_table(tmp_path) and (tmp_path / "table.json").is_file()
    assert json.loads((tmp_path / "table.json").read_text())["grid"] is None
    with pytest.raises(ValueError, match="--score motion_fidelity: the runs have gradients"):
        make_table([tmp_path], None, tmp_path, score="motion_fidelity")


def test_no_place_of_a_grid_hides_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(tmp_path, (*PAIRS, (3, 2)))
    assert "No grid of motion fidelity over skip.delta and window.l: 2 rows have" in short_table(tmp_path)
    assert main([str(tmp_path), "--grid", "window.l", "skip.delta"]) == 2
    assert "--grid window.l skip.delta: 2 rows have window.l=3, skip.delta=2" in capsys.readouterr().err


def test_what_is_not_to_be_read_is_marked_in_a_grid(tmp_path: Path) -> None:
    for job, (l, delta) in enumerate(PAIRS):
        scores = {"motion_fidelity": 0.5, "low_coverage": float(job == 2)}
        values = {"skip.delta": str(delta), "window.l": str(l)}
        write_run(tmp_path / "rows" / str(job), [], [case_record("r0/p/s0", scores=scores)], values, job)
    assert "| `skip.delta=1` | 0.500 | 0.500\\* |" in short_table(tmp_path)
