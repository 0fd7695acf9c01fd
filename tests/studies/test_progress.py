"""How far a study is: cases, states, errors with the command that repeats a row, time left."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from fastvmt.files import write_json
from fastvmt.results.events import note
from fastvmt.results.folder import RunFolder
from fastvmt.studies.progress import Progress, failures, progress_of, total_left
from fastvmt.studies.status_command import main
from fastvmt.study import note_sweep
from fastvmt.sweep import rows_of
from helpers.records import case_record
from helpers.studies import write_run

WORDS = ["window.l={}", "prompt='it\\'s a dog'", "output_dir=elsewhere", "swept=[window.l]"]


def begin(study: Path, l: int, cases: int = 0, expected: int | None = 4) -> Path:
    """A row that has begun and has finished some cases, of 7.75 seconds each."""
    folder = RunFolder(study / "rows" / f"l={l}")
    OmegaConf.save(OmegaConf.create([word.format(l) for word in WORDS]), made(folder.path / ".hydra/overrides.yaml"))
    for i in range(cases):
        write_json(folder.case(f"r{i}/p/s0").record, case_record(f"r{i}/p/s0").to_json())
    if expected is not None:
        note(folder.path, "started", cases=expected)
    return folder.path


def made(file: Path) -> Path:
    file.parent.mkdir(parents=True)
    return file


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A sweep over five values: finished, failed, interrupted, running, waiting."""
    note(begin(tmp_path, 3, 4), "finished")
    note(begin(tmp_path, 4, expected=None), "failed", error="window.l=4 must be odd")
    note(begin(tmp_path, 5, 1), "interrupted")
    begin(tmp_path, 7, 2)
    note_sweep(sweep_into(tmp_path, "window.l=3,4,5,7,9"))
    return tmp_path


def sweep_into(folder: Path, *words: str) -> DictConfig:
    """The configuration of a sweep over ``window.l`` as a whole."""
    sweeper = {"_target_": "a.BasicSweeper", "params": {"window.l": "3,4,5"}}
    hydra = {"sweeper": sweeper, "sweep": {"dir": str(folder)}, "overrides": {"task": [*words, "seed=0"]}}
    return OmegaConf.create({"hydra": hydra, "swept": ["window.l"], "dry": False, "plan": False})


def test_every_row_has_its_state_and_its_time(study: Path) -> None:
    rows = progress_of(study)
    assert [(row.name, row.done, row.expected, row.state) for row in rows] == [
        ("l=3", 4, 4, "finished"),
        ("l=4", 0, 4, "failed"),
        ("l=5", 1, 4, "interrupted"),
        ("l=7", 2, 4, "running"),
        ("l=9", 0, 4, "waiting"),
    ]
    assert [row.left for row in rows] == [0.0, 4 * 7.75, 3 * 7.75, 2 * 7.75, 4 * 7.75]
    assert total_left(rows) == 13 * 7.75


def test_a_failure_comes_with_the_command_that_repeats_it(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (told,) = failures(progress_of(study))
    why, command = told.split("\n  again: ")
    assert why == "l=4: window.l=4 must be odd"
    words = ["window.l=4", "prompt='it\\'s a dog'", "swept=[window.l]"]
    assert shlex.split(command) == ["python", "run.py", "-m", *words, f"output_dir={study}"]
    assert main([str(study)]) == 0
    printed = capsys.readouterr().out
    assert told in printed and "1 finished, 1 running, 1 interrupted, 1 failed, 1 waiting" in printed


@pytest.mark.parametrize(
    ("words", "keys"), [(["skip.delta=4", "seed=1"], "skip.delta"), (["seed=1", "row=none"], "row")]
)
def test_a_row_of_an_experiment_is_repeated_alone(tmp_path: Path, words: list[str], keys: str) -> None:
    """Its own sweep and rows beside are left out, and the row has its name."""
    folder = tmp_path / "rows" / "mine"
    whole = ["experiment=table_delta", *words]
    sweeper = {"_target_": "a.GridSweeper", "params": {"skip.delta": "1,2"}, "beside": ["row=none,fast"]}
    hydra = {"sweeper": sweeper, "searchpath": [], "runtime": {"config_sources": []}}
    OmegaConf.save(OmegaConf.create(whole), made(folder / ".hydra/overrides.yaml"))
    OmegaConf.save(OmegaConf.create({"hydra": hydra}), folder / ".hydra/hydra.yaml")
    note(folder, "failed", error="no room")
    (told,) = failures(progress_of(tmp_path))
    program, script, option, *again = shlex.split(told.split("\n  again: ")[1])
    assert (program, script, option) == ("python", "run.py", "-m")
    assert again[:3] == ["hydra/sweeper=grid", "hydra.sweeper.params=null", "hydra.sweeper.beside=null"]
    assert again[3:] == [*whole, f"swept=[{keys}]", f"output_dir={tmp_path}"]
    none = {"_target_": "a.GridSweeper", "params": None, "beside": None}
    config = OmegaConf.create({"swept": [keys], "hydra": {"sweeper": none, "overrides": {"task": again[3:]}}})
    assert rows_of(config) == ["delta=4" if keys == "skip.delta" else "row=none"]


def test_a_single_run_and_one_from_before_events(tmp_path: Path) -> None:
    write_run(tmp_path, [], [case_record("a/p/s0")])
    (row,) = progress_of(tmp_path)
    assert (row.done, row.expected, row.state) == (0, 1, "finished")


def test_a_folder_without_a_run_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err == f"fastvmt.status: {tmp_path} holds no run: neither config.yaml nor rows/ is there\n"
    )


def test_time_is_unknown_before_the_first_case() -> None:
    row = Progress("a", 0, 3, "waiting", "", "", ())
    assert total_left([row]) is None


def test_a_row_that_was_only_planned_waits(study: Path) -> None:
    """``plan=true`` and ``dry=true`` leave what Hydra writes for a job."""
    folder = study / "rows" / "l=9"
    OmegaConf.save(OmegaConf.create(["window.l=9"]), made(folder / ".hydra" / "overrides.yaml"))
    (folder / "fastvmt.log").touch()
    assert [row.state for row in progress_of(study) if row.name == "l=9"] == ["waiting"]


def test_a_finished_row_stays_finished_when_later_commands_are_refused(study: Path) -> None:
    def state(l: int) -> tuple[str, str]:
        (row,) = [row for row in progress_of(study) if row.name == f"l={l}"]
        return row.state, row.error

    def ended(l: int, process: int, *kinds: str) -> None:
        for kind in kinds:
            with monkeypatch.context() as other:
                other.setattr("fastvmt.results.events.os.getpid", lambda: process)
                note(study / "rows" / f"l={l}", kind, error=f"{kind} {process}", cases=4)

    monkeypatch = pytest.MonkeyPatch()
    gone = 2**22 + 1  # above every process's number
    for kind in ("failed", "interrupted"):
        ended(3, gone, kind)
        assert state(3) == ("finished", "")
    ended(7, gone, "failed")
    assert state(7)[0] == "running"
    ended(5, gone, "failed")
    assert state(5) == ("failed", f"failed {gone}")
    ended(3, gone + 1, "started", "failed")
    assert state(3) == ("failed", f"failed {gone + 1}")


def test_a_row_from_before_events_stays_finished_when_a_command_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, [], [case_record("a/p/s0")])
    note(tmp_path, "failed", error="refused")
    (row,) = progress_of(tmp_path)
    assert row.state == "finished"


@pytest.mark.parametrize("key", ["dry", "plan"])
def test_what_transfers_nothing_is_neither_repeated_nor_waiting(study: Path, key: str) -> None:
    words = study / "rows" / "l=4" / ".hydra" / "overrides.yaml"
    OmegaConf.save(OmegaConf.create([*OmegaConf.load(words), f"{key}=True"]), words)
    (told,) = failures(progress_of(study))
    assert key not in told and "window.l=4" in told
    note_sweep(OmegaConf.merge(sweep_into(study, "window.l=11"), {key: True}))
    assert [row.name for row in progress_of(study) if row.state == "waiting"] == ["l=9"]
    note_sweep(sweep_into(study, "window.l=4"))  # the command that repeats a row
    assert [row.name for row in progress_of(study) if row.state == "waiting"] == ["l=9"]
    note_sweep(sweep_into(study, "window.l=11,13"))
    assert [row.name for row in progress_of(study) if row.state == "waiting"] == ["l=11", "l=13"]


@pytest.mark.parametrize("content", ["", "hydra: {sweeper", "- a", "hydra: {}", "a\x00", '{"rows": [3]}', "[]"])
@pytest.mark.parametrize("name", ["sweep.json", "rows/l=4/.hydra/hydra.yaml", "rows/l=4/.hydra/overrides.yaml"])
def test_what_hydra_left_unfinished_is_one_line(
    study: Path, name: str, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / name).write_text(content)
    code = main([str(study)])
    error = capsys.readouterr().err
    assert (code, error) == (0, "") if name.endswith("overrides.yaml") and not code else code == 2
    assert code == 0 or (error.startswith(f"fastvmt.status: {study / name} is damaged: ") and error.count("\n") == 1)


def test_a_run_in_the_working_folder_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "mine", [], [case_record("a/p/s0")])
    monkeypatch.chdir(tmp_path / "mine")
    assert [row.name for row in progress_of(Path())] == ["mine"]
