"""The harness of bad inputs: its rules, its runner, and the product held to what is known of it."""

from __future__ import annotations

import gc
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.checks import clips, fork, report
from experiments.checks.faults import SHORT, TABLES, main
from experiments.checks.kills import printed, stop_problem
from experiments.checks.pool import adopt_clear, append, read, run_all, run_trial, spread
from experiments.checks.rows.settings import expected, flat
from experiments.checks.trial import Expect, Finding, Outcome, Trial, Verdict
from experiments.checks.verdict import judge, told, unclear

ROOT = Path(__file__).parents[2]
GOOD = "fastvmt: sampler.steps=0 is out of range: it must be at least 1.\n"
WARNED = "/a/b.py:12: UserWarning: cut\n  warnings.warn(cut)\n[2026-01-01 10:00:00,000][fastvmt][WARNING] - odd\n"


def ended(code: int | None, stderr: str = "", stdout: str = "") -> Outcome:
    return Outcome(code, stdout, stderr, 0.1)


def row(expect: Expect = Expect.refuse, **values: object) -> Trial:
    return replace(Trial("settings", "x", ("run", "x=1"), expect, ("steps",)), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (ended(2, GOOD), Verdict.clear),
        (ended(2, WARNED + GOOD), Verdict.clear),
        (ended(2, "usage: python -m fastvmt.score [-h]\n\nscore: error: argument --steps: no\n"), Verdict.clear),
        (ended(0, GOOD), Verdict.wrong),
        (ended(1, GOOD), Verdict.unclear),
        (ended(None, GOOD), Verdict.unclear),
        (ended(-11, ""), Verdict.unclear),
        (ended(2, GOOD + "  in line 3\n"), Verdict.unclear),
        (ended(2, ""), Verdict.unclear),
        (ended(2, "Error: steps\n"), Verdict.unclear),
        (ended(2, GOOD.replace("sampler.steps", "it")), Verdict.unclear),
        (ended(2, "Traceback (most recent call last):\n" + GOOD), Verdict.traceback),
        (ended(1, "one failed", "Traceback (most recent call last):\n"), Verdict.traceback),
    ],
)
def test_a_refusal_is_one_line_that_names_the_key(outcome: Outcome, verdict: Verdict, tmp_path: Path) -> None:
    assert judge(row(), outcome, tmp_path, {})[0] is verdict


def test_a_good_input_must_be_read_rightly(tmp_path: Path) -> None:
    fine, bad = (lambda here, outcome: None), (lambda here, outcome: "turned twice")
    assert judge(row(Expect.accept, check=fine), ended(0), tmp_path, {})[0] is Verdict.clear
    assert judge(row(Expect.accept, check=bad), ended(0), tmp_path, {}) == (Verdict.wrong, "turned twice")
    assert judge(row(Expect.accept), ended(2, GOOD), tmp_path, {}) == (Verdict.wrong, "refused")
    assert judge(row(Expect.either), ended(2, GOOD), tmp_path, {})[0] is Verdict.clear
    assert judge(row(Expect.either, check=bad), ended(0), tmp_path, {})[0] is Verdict.wrong


def test_what_was_finished_must_stay(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "case.json").write_text("{}")
    outcome, trial = ended(2, GOOD), row(kept="cases")
    assert judge(trial, outcome, tmp_path, {"case.json": "0" * 64})[0] is Verdict.lost
    assert judge(trial, outcome, tmp_path, {"gone.mp4": "0" * 64})[0] is Verdict.lost
    assert judge(trial, outcome, tmp_path, {})[0] is Verdict.clear


def test_only_logs_and_warnings_may_stand_beside_the_line() -> None:
    assert told(WARNED + GOOD) == [GOOD.strip()]
    assert len(told("  indented\n" + GOOD)) == 2
    assert unclear(ended(2, GOOD), ()) is None


@pytest.mark.parametrize(
    ("number", "code", "stderr", "took", "verdict"),
    [
        (signal.SIGINT, 130, "fastvmt: stopped; run again with output_dir={out}\n", 0.5, None),
        (signal.SIGINT, 143, "fastvmt: stopped; run again with output_dir={out}\n", 0.5, Verdict.unclear),
        (signal.SIGTERM, 143, "fastvmt: stopped; run again with output_dir={out}\n", 2.5, Verdict.unclear),
        (signal.SIGTERM, 143, "fastvmt: stopped\n", 0.5, Verdict.unclear),
        (signal.SIGTERM, -15, "", 0.5, Verdict.unclear),
        (signal.SIGINT, 130, "Traceback (most recent call last):\n", 0.5, Verdict.traceback),
        (signal.SIGKILL, -9, "", 0.0, None),
        (signal.SIGTERM, 0, "", 0.0, None),
    ],
)
def test_a_stopped_run_says_how_to_go_on(number, code, stderr, took, verdict, tmp_path: Path) -> None:
    problem = stop_problem(number, ended(code, stderr.format(out=tmp_path / "out")), took, tmp_path)
    assert (problem and problem[0]) == verdict


def test_a_printed_command_is_taken_apart_as_a_shell_would() -> None:
    line = "fastvmt: stopped; go on with: python run.py 'prompt=a dog' output_dir=/x/out\n"
    assert printed(line) == ["prompt=a dog", "output_dir=/x/out"]
    assert printed("fastvmt: stopped, output_dir=/x/out\n") is None


@pytest.mark.parametrize(
    ("key", "default", "value", "expect"),
    [
        ("sampler.steps", 20, "inf", Expect.refuse),
        ("sampler.steps", 20, "zero", Expect.refuse),
        ("sampler.steps", 20, "one_and_a_half", Expect.refuse),
        ("window.l", 5, "zero", Expect.either),
        ("guidance.lr", 0.1, "one_and_a_half", Expect.either),
        ("guidance.lr", 0.1, "1e300", Expect.refuse),
        ("guidance.rope", False, "true", Expect.either),
        ("guidance.rope", False, "word", Expect.refuse),
        ("metrics.frames", None, "null", Expect.either),
        ("metrics.frames", None, "word", Expect.refuse),
        ("window.tile", [2, 2], "word", Expect.refuse),
        ("prompt", None, "list", Expect.either),
        ("output_dir", "x", "long", Expect.refuse),
        ("output_dir", "x", "map", Expect.refuse),
        ("backbone.path", "tiny-wan", "above", Expect.refuse),
        ("method._target_", "fastvmt.x", "word", Expect.refuse),
    ],
)
def test_what_is_expected_of_a_value_follows_its_key(key, default, value, expect) -> None:
    assert expected(key, default, value) is expect


def test_keys_are_flattened() -> None:
    assert list(flat({"a": {"b": [1], "c": {}}, "d": 2})) == [("a.b", [1]), ("a.c", {}), ("d", 2)]


def stub(seen: list[str]) -> Callable[[Trial], Finding]:
    def run(trial: Trial) -> Finding:
        Path(seen[0], trial.name).write_text("")
        return Finding(trial.id, trial.kind, "clear", "", "", 0, "", "", "", 0.0)

    return run


def test_finished_trials_are_not_run_again(tmp_path: Path) -> None:
    trials = [row(name=str(number)) for number in range(5)]
    log = tmp_path / "trials.jsonl"
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    assert len(run_all(trials[:2], log, 2, "v", stub([str(first)]))) == 2
    with log.open("a") as stream:
        stream.write('{"id": "cut')
    log.write_text(log.read_text() + "\n")
    found = run_all(trials, log, 3, "v", stub([str(second)]))
    assert [each.id for each in found] == [trial.id for trial in trials]
    assert sorted(path.name for path in second.iterdir()) == ["2", "3", "4"]
    assert read(log, "other") == {}


def test_what_was_clear_with_earlier_sources_may_count(tmp_path: Path) -> None:
    trials = [row(name=str(number)) for number in range(3)]
    log, here = tmp_path / "trials.jsonl", tmp_path / "here"
    here.mkdir()
    run_all(trials[:2], log, 1, "old", stub([str(here)]))
    spoilt = replace(read(log, "old")[trials[1].id], verdict=Verdict.wrong.value)
    append(log, spoilt, "old")
    assert adopt_clear(log, "new") == {trials[0].id} and list(read(log, "new")) == [trials[0].id]
    found = run_all(trials, log, 1, "new", stub([str(here)]))
    assert [each.verdict for each in found] == [Verdict.clear.value] * 3
    assert len(adopt_clear(log, "new")) == 1 and len(adopt_clear(log, "newer")) == 3


def test_a_trial_that_cannot_be_run_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def broken(_trial: Trial) -> Finding:
        raise ValueError("no clip")

    with pytest.raises(RuntimeError, match="1 trials could not be run, such as settings/x"):
        run_all([row()], tmp_path / "trials.jsonl", 1, "v", broken)
    assert "no clip" in capfd.readouterr().err


def test_a_sample_is_spread() -> None:
    assert [t.name for t in spread([row(name=str(i)) for i in range(10)], 3)] == ["0", "3", "6"]
    assert len(spread([row()], 3)) == 1


def test_counts_and_groups() -> None:
    def found(name: str, verdict: Verdict, last: str = "") -> Finding:
        return Finding(f"videos/{name}", "videos", verdict.value, "exit code 1", "python run.py", 1, "", last, "", 0.0)

    rows = [found("a", Verdict.clear), *(found(str(i), Verdict.unclear, f"no file {i}") for i in range(3))]
    rows += [found("lost", Verdict.lost), found("other", Verdict.unclear, "other")]
    assert report.counts(rows)["all"] == {"tried": 6, "clear": 1, "unclear": 4, "traceback": 0, "wrong": 0, "lost": 1}
    assert [len(group) for group in report.groups(rows)] == [1, 3, 1]
    assert "## unclear, videos: 3" in report.page(rows, ["disks"])


def test_commands_run_in_forks_with_their_own_folder_streams_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(_here: Path) -> None:
        time.sleep(600)

    done = fork.run_command(("score", "--help"), tmp_path, 60)
    assert done.code == 0 and "usage:" in done.stdout and (tmp_path / "a" / "b").is_dir()
    refused = fork.run_command(("manifest", "x", "y", "@here@/z.jsonl", "--license", "own"), tmp_path, 60)
    assert refused.code == 2 and refused.stderr.startswith("fastvmt.manifest: ")
    monkeypatch.setattr(fork, "PATIENCE", 0.5)
    assert fork.run_command(("score", "--help"), tmp_path, 1, hang).code is None
    assert os.getcwd() != str(tmp_path / "a" / "b")


def test_a_trial_is_prepared_judged_and_removed() -> None:
    places: list[Path] = []
    trial = row(command=("manifest", "@here@/clips", "x", "x.jsonl", "--license", "x"), prepare=places.append)
    found = run_trial(replace(trial, names=("clips",)))
    assert (found.verdict, found.code) == ("clear", 2) and "@here@/clips" in found.command + found.last
    assert not places[0].exists()


def test_clips_are_read_as_they_are_shown(tmp_path: Path) -> None:
    frames = clips.pattern(5)
    read_back, times = clips.read(clips.write(tmp_path / "x.mkv", frames, 8.0, "ffv1", "bgr0"))
    assert (read_back == frames).all() and times == pytest.approx([0, 0.125, 0.25, 0.375, 0.5])
    odd = Path(clips.__file__).parent / "odd"
    assert clips.read(odd / "rot90.mov")[0].shape[1:3] == (192, 128)
    assert clips.read(odd / "anamorphic.mp4")[0].shape[1:3] == (128, 419)
    assert len(clips.read(odd / "trimmed.mp4")[1]) == 16
    assert clips.covered(frames, 32, 32).shape == (5, 32, 32, 3)


@pytest.mark.slow
def test_the_short_form_finds_nothing(tmp_path: Path) -> None:
    """A spread sample of every table, and a kill: no wrong result, nothing lost, no traceback, nothing unclear."""

    def work() -> int:
        os.setpgrp()
        main(["--short", "--output", str(tmp_path)])
        return 0

    assert fork.wait(fork.forked(work), 1200) == 0
    counts = json.loads((tmp_path / "faults.json").read_text())
    assert counts["counts"]["all"]["tried"] > 35
    assert counts["not_clear"] == []


def test_the_short_form_has_trials_of_every_kind() -> None:
    assert set(SHORT) == {*TABLES, "kills"}


def test_what_the_parent_removes_at_its_end_survives_its_forks(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert fork.run_command(("score", "--list"), tmp_path).code == 0
        assert Path(folder).is_dir()


def test_a_fork_leaves_the_garbage_of_its_parent(tmp_path: Path) -> None:
    """A decoder that waits in a cycle, with threads that the fork has not, would be waited for without end."""

    class Decoder:
        def __del__(self) -> None:
            (tmp_path / str(os.getpid())).touch()

    def work() -> int:
        gc.collect()
        return 0

    gc.disable()
    try:
        cycle = [Decoder()]
        cycle.append(cycle)
        del cycle
        child = fork.forked(work)
        assert fork.wait(child, 60) == 0
    finally:
        gc.enable()
    assert not (tmp_path / str(child)).exists()
    gc.collect()
    assert (tmp_path / str(os.getpid())).exists()
