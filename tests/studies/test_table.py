"""A table of runs: rows named by what is swept, paired differences, costs that compare, four forms that agree."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from fastvmt.results.case_record import CaseRecord
from fastvmt.results.columns import cost_summaries, summaries
from fastvmt.stopwatch import KEPT
from fastvmt.studies.forms import latex, markdown
from fastvmt.studies.quantities import column
from fastvmt.studies.rows import labels, read_rows, unfinished
from fastvmt.studies.table import tabulated
from fastvmt.studies.table_command import main, make_table, short_table
from helpers.records import case_record
from helpers.studies import scored, write_run


def better(shift: float, count: int = 8) -> list[CaseRecord]:
    """Records of ``count`` references, better by ``shift`` than those of no shift, in one by half."""
    return scored({f"r{i}/p/s0": 0.1 * i + (shift if i else shift / 2) for i in range(count)})


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Three rows on eight references, in a folder whose names sort otherwise than the values."""
    for job, (l, shift) in enumerate({"11": 0.1, "3": 0.0, "5": 0.001}.items()):
        words = [f"window.l={l}", "seed=1", f"output_dir={tmp_path}", "swept=[window.l]"]
        write_run(tmp_path / "rows" / f"l={l}", words, better(shift), {"window.l": l}, job)
    return tmp_path


def test_rows_are_named_and_sorted_by_what_is_swept(sweep: Path) -> None:
    assert labels(read_rows([sweep])) == ["l=3", "l=5", "l=11"]
    assert labels(read_rows([sweep / "rows" / "l=3"])) == ["l=3"]


def test_entries_are_means_and_paired_differences(sweep: Path) -> None:
    table = tabulated(read_rows([sweep]), ["motion_fidelity"])
    (first,), (small,), (large,) = table.entries
    assert first.mean == pytest.approx(0.35) and first.n == 8 and first.difference is None
    assert large.difference is not None and small.difference is not None
    assert large.difference.mean == pytest.approx((7 * 0.1 + 0.05) / 8)
    assert 0.05 <= large.difference.low <= large.difference.high <= 0.1 + 1e-9
    assert large.significant and small.significant and not first.significant


def test_the_base_row_is_the_one_that_the_experiment_names(tmp_path: Path) -> None:
    spec = {"base": {"window.tile": [2, 2]}, "columns": ["motion_fidelity"], "question": "Which tile?"}
    for job, tile in enumerate(("[3,4]", "[2,2]")):
        write_run(tmp_path / "rows" / str(job), [], better(0.0), {"window.tile": tile}, job, table=spec)
    table = tabulated(read_rows([tmp_path]))
    assert table.names[table.base] == "tile=[2,2]" and table.columns == ["motion_fidelity"]
    assert "Which tile?" in make_table([tmp_path], None, tmp_path)


def test_the_loops_ratio_is_of_cpu_seconds_and_of_one_machine_only() -> None:
    base = [case_record(f"r{i}") for i in range(3)]
    slow = [replace(r, cost=replace(r.cost, cpu_seconds={"guide": 3.8, "denoise": 7.8}, contended=True)) for r in base]
    assert column(slow, "loop_ratio", base) == {f"r{i}": pytest.approx(2.0) for i in range(3)}
    assert all(map(math.isnan, column(slow, "loop_seconds", base).values()))  # others wanted the machine
    assert column(base, "loop_seconds", base) == {f"r{i}": 6.0 for i in range(3)}
    moved = [replace(record, maker=record.maker | {"hardware": "another"}) for record in slow]
    assert all(map(math.isnan, column(moved, "loop_ratio", base).values()))
    threads = [replace(record, cost=replace(record.cost, threads=2)) for record in slow]
    assert all(map(math.isnan, column(threads, "loop_ratio", base).values()))
    gpu = [replace(record, device="cuda:0") for record in base]
    assert column(gpu, "loop_ratio", gpu) == {f"r{i}": 1.0 for i in range(3)}


def on(records: list[CaseRecord], hardware: str = "another", threads: int = 1) -> list[CaseRecord]:
    """Records of another machine, with the seconds of a tuning."""
    timed = [replace(record, seconds=record.seconds | {"tune": 9.0}) for record in records]
    return [
        replace(record, maker=record.maker | {"hardware": hardware}, cost=replace(record.cost, threads=threads))
        for record in timed
    ]


@pytest.mark.parametrize("name", ["loop_seconds", "loop_cpu_seconds", "tuning_seconds"])
def test_seconds_of_several_machines_are_not_averaged(name: str) -> None:
    base = on([case_record(f"r{i}") for i in range(4)], "a processor")
    assert all(map(math.isfinite, column(base, name, base).values()))
    gpu = [replace(record, device="cuda:0") for record in base]
    for other in (on(base), on(base, "a processor", threads=2), gpu):
        for mine in (other, [*base[:2], *other[2:]]):
            assert all(map(math.isnan, column(mine, name, base).values()))
            assert all(map(math.isnan, column(base, name, mine).values()))
        assert all(map(math.isfinite, column(other, name, other).values()))
    elsewhere = [replace(record, seconds={}) for record in on(base)]  # another system's clips, which nobody timed
    assert column(base, name, elsewhere) == column(base, name, base)


def test_a_process_that_had_to_wait_has_no_wall_seconds() -> None:
    """One that was stopped, or yielded to another: the machine itself was not short of anything."""
    fine = case_record("a")
    waited = replace(fine, seconds=fine.seconds | {"denoise": 6.0})
    device = replace(waited, device="cuda:0")  # whose host waits for it
    found = [column([record], "loop_seconds", [record])["a"] for record in (fine, waited, device)]
    assert found[0] == 6.0 and math.isnan(found[1]) and found[2] == 8.0


def test_readings_count_where_the_cache_had_them() -> None:
    record = case_record("a")
    cost = replace(record.cost, cpu_seconds=record.cost.cpu_seconds | {"reference": 0.25})
    made, found = (replace(record, cost=cost, seconds=record.seconds | {KEPT: kept}) for kept in (0.0, 3.0))
    unknown = replace(record, cost=cost)
    seconds = [column([each], "reference_seconds", [each])["a"] for each in (made, found, unknown, record)]
    assert seconds[:2] == [0.25, 3.25] and all(math.isnan(each) for each in seconds[2:])


def test_ratios_of_cpus_and_of_gpus_are_not_averaged() -> None:
    base = [case_record(f"r{i}") for i in range(4)]
    mixed = [*base[:2], *(replace(record, device="cuda:0") for record in base[2:])]
    assert set(column(base, "loop_ratio", base).values()) == {1.0}
    assert all(map(math.isnan, column(mixed, "loop_ratio", mixed).values()))
    on_one = column(mixed, "loop_ratio", base)  # pairs of one kind alone are left
    assert [math.isfinite(value) for value in on_one.values()] == [True, True, False, False]


def test_a_run_s_own_seconds_are_of_one_machine() -> None:
    own = [case_record(f"r{i}") for i in range(4)]
    assert summaries(own)["seconds"]["denoise"] == 4.0 and cost_summaries(own)["total_seconds"].n == 4
    both = [*own[:3], replace(own[3], device="cuda:0")]
    assert all(map(math.isnan, summaries(both)["seconds"].values()))
    assert cost_summaries(both)["total_seconds"].n == 0 and cost_summaries(both)["resident_gib"].n == 4


def test_a_table_says_why_seconds_of_several_machines_are_not_there(tmp_path: Path) -> None:
    own = [case_record(f"r{i}/p/s0") for i in range(3)]
    spec = {"columns": ["motion_fidelity", "loop_seconds"], "base": {"window.l": 3}}
    for job, (l, records) in enumerate({"3": own, "5": [*own[:2], *on(own[2:], threads=4)], "7": own}.items()):
        write_run(tmp_path / "rows" / l, [], records, {"window.l": l}, job, table=spec)
    written = make_table([tmp_path], None, tmp_path)
    assert "| `l=3` | 3 | 0.500 | 6.000 |" in written and "| `l=5` | 3 | 0.500 | n/a |" in written
    told = (
        "Seconds are n/a for l=5: those of several machines, by row and with the base row, are not averaged. Cases by "
        "machine: a processor (cpu) with 1 threads (8), another (cpu) with 4 threads (1)."
    )
    assert told in written and told in short_table(tmp_path)
    assert "Seconds are n/a for l=5" in (tmp_path / "table.tex").read_text()
    assert told in json.loads((tmp_path / "table.json").read_text())["caption"]
    write_run(tmp_path / "rows" / "5", [], own, {"window.l": "5"}, 1, table=spec)
    assert "Seconds are n/a" not in make_table([tmp_path], None, tmp_path)


def test_the_four_forms_agree(sweep: Path) -> None:
    written = make_table([sweep], None, sweep)
    assert "absent" not in written  # what no run could measure is no column
    assert "| `l=11` | 8 | **0.444** |" in written
    assert written == (sweep / "table.md").read_text()
    rows = list(csv.DictReader((sweep / "table.csv").open()))
    content = json.loads((sweep / "table.json").read_text())
    for line, row in zip(rows, content["rows"], strict=True):
        assert line["row"] == row["row"]
        assert float(line["motion_fidelity_mean"]) == row["cells"]["motion_fidelity"]["mean"]
    assert r"l=11 & 8 & \textbf{0.444}" in (sweep / "table.tex").read_text()
    assert content["command"] == "python run.py -m seed=1 window.l=3,5,11"
    assert content["command"] in written


def test_what_has_begun_and_is_not_finished_is_told(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sweep / "rows" / "l=7").mkdir()
    (sweep / "rows" / "l=7" / "config.yaml").write_text("")
    assert unfinished(sweep) == ["l=7"]
    assert main([str(sweep), "--format", "md"]) == 0
    assert "not finished, and not in the table: l=7" in capsys.readouterr().out
    assert sorted(file.name for file in sweep.glob("table.*")) == ["table.md"]


def test_cases_are_chosen_by_words_of_their_ids(tmp_path: Path) -> None:
    for delta, shift in (("1", 0.0), ("3", 0.1)):
        values = {f"00-{i:03d}-camera-pan": i + shift for i in range(4)}
        write_run(tmp_path / "rows" / f"delta={delta}", [f"skip.delta={delta}"], scored(values), {"skip.delta": delta})
    told = make_table([tmp_path], ["motion_fidelity"], tmp_path, cases=["-002", "-003"])
    assert "Only cases with -002 or -003 in their ids." in told.replace("\\", "")
    assert "| `delta=1` | 2 | 2.500 |" in told and "| `delta=3` | 2 | 2.600 |" in told


def test_hostile_names_stay_text(sweep: Path) -> None:
    table = tabulated(read_rows([sweep]), ["motion_fidelity"])
    names = ["a|b", r"50% of $x_1$ & {y} \end{tabular}", "c"]
    assert r"a\|b" in markdown(names, table.columns, table.entries)
    told = latex(names, table.columns, table.entries)
    assert r"50\% of \$x\_1\$ \& \{y\} \textbackslash{}end\{tabular\}" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--columns", "nope"], "--columns nope: the runs have motion_fidelity"),
        (["--grid", "window.l", "nope"], "--grid window.l nope: two swept keys are needed, of window.l"),
        (["--cases", "nope", "no"], "--cases nope no: no case of "),
        (["--format", "md,doc"], "--format doc: it must be of md, tex, csv, json"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], told: str, sweep: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(sweep), *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.startswith("fastvmt.table: ") and error.count("\n") == 1


def test_what_is_not_there_or_damaged_is_one_line(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(sweep / "rows" / "l=3" / "cases")]) == 2
    assert "holds no finished run" in capsys.readouterr().err
    (sweep / "rows" / "l=3" / "result.json").write_text("{")
    assert main([str(sweep)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fastvmt.table: ") and "result.json" in error and error.count("\n") == 1


def test_parts_of_the_cases_stand_apart(tmp_path: Path) -> None:
    spec = {"parts": {"readable": [], "small": ["scale", "squash"]}, "columns": ["motion_fidelity"]}
    kinds = ("scale", "line", "squash", "curve", "line", "line")
    for job, shift in enumerate((0.0, 0.5)):
        values = {
            f"00-{i}-{kind}/p0/s0": (1.0 if kind in ("scale", "squash") else 0.0) + shift
            for i, kind in enumerate(kinds)
        }
        write_run(tmp_path / "rows" / str(job), [], scored(values), {"skip.delta": str(job)}, job, table=spec)
    written = make_table([tmp_path], None, tmp_path)
    assert "| row | motion fidelity, readable | motion fidelity, small |" in written
    assert "| `delta=1` | 0.500 (4) | 1.500 (2) |" in written
    content = json.loads((tmp_path / "table.json").read_text())["parts"]
    assert content["small"]["delta=1"]["motion_fidelity"]["mean"] == 1.5


def test_what_is_not_to_be_read_is_marked_in_every_form(tmp_path: Path) -> None:
    for name, low in (("full", 0.0), ("sdedit", 1.0)):
        records = [case_record(f"r{i}", scores={"motion_fidelity": 0.5, "low_coverage": low}) for i in range(3)]
        write_run(tmp_path / "rows" / f"row={name}", [], records, {"row": name})
    written = make_table([tmp_path], ["motion_fidelity"], tmp_path)
    assert "| `full` | 3 | 0.500 |" in written and r"| `sdedit` | 3 | 0.500\* |" in written
    note = "coverage below a fifth in 3 of 6 cases (sdedit: 3)"
    assert written.rstrip().endswith(note) and note in short_table(tmp_path)
    latex_text = (tmp_path / "table.tex").read_text()
    assert f"{note}." in latex_text and "& 3 & 0.500* " in latex_text
    assert json.loads((tmp_path / "table.json").read_text())["doubts"][0].endswith(note)


def test_no_mean_is_bold_that_stands_the_other_way_than_its_difference(tmp_path: Path) -> None:
    easy = {f"r{i}/p/s0": 0.95 for i in range(6)}
    write_run(tmp_path / "rows" / "1", [], scored(easy | {f"h{i}/p/s0": 0.05 for i in range(4)}), {"window.l": "1"}, 0)
    write_run(tmp_path / "rows" / "2", [], scored(dict.fromkeys(easy, 0.81)), {"window.l": "2"}, 1)
    (_,), (second,) = tabulated(read_rows([tmp_path]), ["motion_fidelity"]).entries
    assert second.mean == pytest.approx(0.81) and second.difference is not None
    assert second.difference.high < 0 and not second.significant


def test_a_table_of_nothing_keeps_its_columns(tmp_path: Path) -> None:
    spec = {"columns": ["motion_fidelity"]}
    write_run(tmp_path / "rows" / "1", [], scored({"r0": math.nan}), {"window.l": "3"}, table=spec)
    assert "| `l=3` | 0 | n/a |" in make_table([tmp_path], None, tmp_path)
