"""The best trade-offs of a search: who is beaten, the ratio to the plain loop, files; a search on the command line."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from experiments.checks.fork import run_command
from fastvmt.compose_errors import explained
from fastvmt.studies.pareto import write_pareto
from fastvmt.study import Study
from helpers.records import case_record
from helpers.studies import scored, write_run

NAMES = ["motion_fidelity", "text_similarity"]


def trial(folder: Path, i: int, fidelity: float, text: float) -> Path:
    record = case_record("a", scores={"motion_fidelity": fidelity, "text_similarity": text})
    return write_run(folder / "rows" / f"l={i}", [], [record], {"window.l": str(i)}, i)


def test_only_what_no_trial_beats_is_kept(tmp_path: Path) -> None:
    for i, values in enumerate([(0.5, 0.5), (0.6, 0.6), (0.4, 0.1), (0.4, 0.2), (0.7, 0.6), (float("nan"), 0.0)]):
        trial(tmp_path, i, *values)
    best = write_pareto(tmp_path, NAMES, ["maximize", "minimize"])
    assert [each.values for each in best] == [(0.4, 0.1), (0.5, 0.5), (0.7, 0.6)]
    written = json.loads((tmp_path / "pareto.json").read_text())
    assert written["trials"] == 5 and [line["row"] for line in written["pareto"]] == ["l=2", "l=0", "l=4"]
    with (tmp_path / "pareto.csv").open() as file:
        assert [float(line["motion_fidelity"]) for line in csv.DictReader(file)] == [0.4, 0.5, 0.7]
    assert (tmp_path / "pareto.png").stat().st_size > 1000


def test_the_ratio_is_over_the_trials_own_plain_loop(tmp_path: Path) -> None:
    row = trial(tmp_path, 3, 0.5, 0.5)
    with pytest.raises(ValueError, match="no trial with motion_fidelity and loop_ratio"):
        write_pareto(tmp_path, ["motion_fidelity", "loop_ratio"], ["maximize", "minimize"])
    write_run(row / "plain", [], scored({"a": 0.1}))
    (best,) = write_pareto(tmp_path, ["motion_fidelity", "loop_ratio"], ["maximize", "minimize"])
    assert best.values == (0.5, pytest.approx(1.0))


def test_a_search_without_its_package_says_what_to_install() -> None:
    error = MissingConfigException("", "hydra/sweeper/optuna", ["basic"])
    assert 'pip install "fastvmt[search]"' in explained(error, ["experiment=search"])


@pytest.mark.parametrize(
    ("objective", "direction", "trials", "told"),
    [
        ("motion_fidelity", "maximize", 1, ""),
        (["motion_fidelity"], ["maximize"], 1, ""),
        (NAMES, ["maximize", "minimize"], 24, ""),
        (3, "maximize", 1, ""),  # the job tells
        ("motion_fidelity", ["maximize", "minimize"], 1, "has 2 and objective 1.*direction=maximize"),
        (NAMES, "maximize", 1, r"has 1 and objective 2.*direction=\[maximize,maximize\]"),
        (NAMES, ["maximize"], 1, "has 1 and objective 2"),
        ("motion_fidelity", "maximize", 0, "n_trials=0 must be at least 1"),
        (NAMES, ["maximize", "minimize"], -1, "n_trials=-1 must be at least 1"),
    ],
)
def test_a_search_that_cannot_be_is_told_before_its_first_job(
    objective: object, direction: object, trials: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweeper = {"_target_": "a.search", "direction": direction, "n_trials": trials}
    hydra = {"sweeper": sweeper, "sweep": {"dir": str(tmp_path)}}
    config = OmegaConf.create({"objective": objective, "hydra": hydra, "swept": []})
    if not told:
        Study().on_multirun_start(config)
        return
    with pytest.raises(SystemExit) as stopped:
        Study().on_multirun_start(config)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1 and re.search(told, error)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["dry", "plan"])
def test_a_search_without_scores_is_refused_in_one_line(key: str, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason='needs pip install "fastvmt[search]"')
    done = run_command(("run", "experiment=search", f"{key}=true", f"output_dir={tmp_path / 'own'}"), tmp_path)
    assert done.code == 2
    assert done.stderr == f"fastvmt: {key}=true gives a search no score to go by: leave the sweeper out\n"


@pytest.mark.slow
def test_a_search_goes_on_past_what_cannot_be_and_repeats_for_nothing(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason='needs pip install "fastvmt[search]"')
    small = ["sampler.steps=2", "guidance.fraction=0.5", "backbone.height=64", "backbone.width=64"]
    cases = [
        "benchmark=world",
        "benchmark.cases=1",
        "seeds=null",
        "metrics=fast",
        "logger=none",
        "objective=[motion_fidelity,loop_ratio]",
    ]
    found = ["window.l=choice(3,4)", "window.sf=1", "guidance.iterations=2", "skip.delta=choice(1,2)"]
    words = ["experiment=search", *small, *cases, *found, "hydra.sweeper.n_trials=6"]
    before: dict[Path, int] = {}
    for _ in range(2):
        done = run_command(
            ("run", *words, f"output_dir={tmp_path / 'own'}", f"cache_dir={tmp_path / 'cache'}"), tmp_path
        )
        assert done.code == 0, done.stderr
        assert "window.l=4 is out of range" in done.stderr and "no trial" not in done.stderr, done.stderr
        files = {file: file.stat().st_mtime_ns for file in tmp_path.glob("cache/cells/*/*/case.json")}
        assert json.loads((tmp_path / "own" / "pareto.json").read_text())["pareto"]
        assert (tmp_path / "own" / "pareto.png").stat().st_size > 0
        assert before in ({}, files)
        before = files
