"""Sweeps on the command line: a folder and a W&B run per job, one bad job, presets that compose."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from experiments.checks.fork import run_command, working_folder
from experiments.checks.trial import Outcome
from fastvmt.config import config_folder
from fastvmt.engine.again import recomposed
from fastvmt.engine.plan import make_plan
from fastvmt.results.folder import RunFolder
from fastvmt.studies.progress import progress_of
from fastvmt.studies.rows import labels, read_rows
from helpers.config import composed
from helpers.wandb_log import contents

SMALL = [
    "backbone.height=48",
    "backbone.width=48",
    "guidance.block=1",
    "sampler.steps=3",
    "guidance.iterations=2",
    "guidance.fraction=0.3",
    "skip.delta=1",
]


def forked(random_wan: Path, folder: Path, *overrides: str) -> Outcome:
    """A sweep in a fork of this process, which has imported what a run needs, started in a folder below ``folder``."""
    return run_command(("run", "-m", f"backbone.path={random_wan}", *SMALL, *overrides), folder)


@pytest.mark.slow
def test_jobs_have_folders_of_their_own_and_one_bad_job_stops_no_other(random_wan, tmp_path):
    done = forked(random_wan, tmp_path, "skip.delta=1,9,2")
    assert done.code == 1
    assert "fastvmt: job 1: skip.delta=9 must be at most" in done.stderr
    assert "Traceback" not in done.stderr
    assert "fastvmt: failed: delta=9: skip.delta=9 must be at most" in done.stderr
    (again,) = (line for line in done.stderr.splitlines() if line.startswith("  again: python run.py -m "))
    assert "skip.delta=9" in again and "output_dir=outputs/" in again
    (master,) = working_folder(tmp_path).glob("outputs/*/*/multirun.yaml")
    rows = master.parent / "rows"
    results = {p.parent.name: json.loads(p.read_text()) for p in rows.glob("*/result.json")}
    assert {row: result["config"]["skip"]["delta"] for row, result in results.items()} == {"delta=1": 1, "delta=2": 2}
    for row in results:
        assert list(rows.glob(f"{row}/cases/*/generated.mp4"))
        same_in_wandb(rows / row, results[row], group=master.parent)
    assert "| `delta=2` | 1 |" in done.stdout  # the sweep ends with its table
    assert sorted(file.suffix for file in master.parent.glob("table.*")) == [".csv", ".json", ".md", ".tex"]


def same_in_wandb(folder: Path, result: dict, group: Path) -> None:
    """Names, config, scores, seconds, curves, video and table of the job's W&B run are those of its files."""
    run, (case,) = contents(folder), result["cases"]
    assert (run["project"], run["exit_code"]) == ("fastvmt", 0)
    assert run["group"]
    assert group.as_posix().endswith(run["group"])
    delta = result["config"]["skip"]["delta"]
    assert (run["name"], run["job_type"], run["tags"]) == (f"Δ={delta}", "fastvmt", ["tiny-wan", "demo"])
    assert run["config"]["skip"] == result["config"]["skip"]
    assert run["config"]["values"] == {"skip.delta": delta}
    assert run["config"]["paper"]["delta"] == delta and run["config"]["paper"]["J"] == 2
    assert {"case/*": "case/index", "inner/*": "inner/iteration"}.items() <= run["axes"].items()
    (scores,) = (row for row in run["history"] if "case/index" in row)
    assert {k: scores[f"case/{k}"] for k in ("speed", "text_similarity")}.items() <= case["scores"].items()
    assert scores["case/seconds/guide"] == case["seconds"]["guide"]
    assert run["summary"]["text_similarity"] == result["scores"]["text_similarity"]["mean"]
    assert run["summary"]["loop_cpu_seconds"] == sum(case["cost"]["cpu_seconds"][k] for k in ("guide", "denoise"))
    assert (run["summary"]["n"], run["summary"]["gradients"]) == (1, case["passes"]["gradients"])
    own = [key for key in run["summary"] if not key.startswith(("_", "video/", "cases/"))]
    assert 10 < len(own) <= 25
    curve = [row["inner/loss"] for row in run["history"] if "inner/loss" in row]
    with (folder / "cases" / case["id"] / "trace.csv").open() as file:
        assert curve == pytest.approx([float(row["loss"]) for row in csv.DictReader(file)])
    (table,) = folder.glob("wandb/offline-run-*/files/media/table/*.json")
    (row,), columns = (json.loads(table.read_text())[key] for key in ("data", "columns"))
    assert row[columns.index("case")] == case["id"]
    assert row[columns.index("seconds")] == case["seconds"]["total"]
    (video,) = folder.glob("wandb/offline-run-*/files/media/videos/video/*.mp4")
    assert video.read_bytes() == (folder / "cases" / case["id"] / "side_by_side.mp4").read_bytes()


@pytest.mark.slow
def test_a_sweep_that_grew_in_the_middle_makes_only_what_is_new(random_wan, tmp_path):
    fixed = ["metrics=none", "logger=none", f"output_dir={tmp_path / 'own'}", f"cache_dir={tmp_path / 'cache'}"]
    assert forked(random_wan, tmp_path, "guidance.lr=0.01,0.02", *fixed).code == 0
    files = sorted((tmp_path / "own").glob("rows/*/cases/*/*"))
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    grown = forked(random_wan, tmp_path, "guidance.lr=0.01,0.03,0.02", *fixed)
    assert grown.code == 0, grown.stderr
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == before
    assert labels(read_rows([tmp_path / "own"])) == ["lr=0.01", "lr=0.02", "lr=0.03"]
    assert len(list(tmp_path.glob("cache/cells/*/*/case.json"))) == 3


@pytest.mark.slow
def test_rows_that_cannot_differ_are_told_and_made_once(random_wan, tmp_path):
    fixed = ["metrics=none", "logger=none", f"output_dir={tmp_path / 'own'}", f"cache_dir={tmp_path / 'cache'}"]
    done = forked(random_wan, tmp_path, "method=none", "window.l=3,5", *fixed)
    assert done.code == 0, done.stderr
    assert "rows with the same videos, which are made once: l=3; l=5" in done.stdout + done.stderr
    assert len(list(tmp_path.glob("cache/cells/*/*/case.json"))) == 1


@pytest.mark.slow
def test_rows_beside_a_sweep_are_made_once_whatever_becomes_of_it(random_wan, tmp_path):
    fixed = ["metrics=none", "logger=none", f"output_dir={tmp_path / 'own'}", f"cache_dir={tmp_path / 'cache'}"]
    words = ["hydra/sweeper=grid", "hydra.sweeper.beside=['row=without_window,none']", *fixed]
    done = forked(random_wan, tmp_path, "window.l=3,5", *words)
    assert done.code == 0, done.stderr
    assert labels(read_rows([tmp_path / "own"])) == ["l=3", "l=5", "without_window", "none"]
    rows = {row.name: row.state for row in progress_of(tmp_path / "own")}
    assert rows == dict.fromkeys(["l=3", "l=5", "row=without_window", "row=none"], "finished")
    assert len(list(tmp_path.glob("cache/cells/*/*/case.json"))) == 4
    grown = forked(random_wan, tmp_path, "window.l=0,3", *words)
    assert grown.code == 0, grown.stderr
    assert "rows with the same videos, which are made once: l=0; row=without_window" in grown.stdout + grown.stderr
    assert "rows of earlier sweeps, in the table too: l=5" in grown.stdout
    assert len(list(tmp_path.glob("cache/cells/*/*/case.json"))) == 4


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--config-dir={}", "hydra.searchpath=[file://{}]"])
def test_commands_that_are_told_find_the_yaml_files_of_the_user_s_own(random_wan, tmp_path, option):
    own, out = tmp_path / "own" / "row", tmp_path / "out"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\nsampler: {steps: 2}\n")
    fixed = ["metrics=none", "logger=none", f"output_dir={out}", f"cache_dir={tmp_path / 'cache'}"]
    done = forked(random_wan, tmp_path, "row=mine", "window.l=3,4", *fixed, option.format(own.parent))
    named = f"'hydra.searchpath=[file://{own.parent}]' "
    (again,) = (line for line in done.stderr.splitlines() if line.startswith("  again: "))
    assert again.startswith(f"  again: python run.py -m {named}")
    assert (out / "table.md").read_text().startswith(f"`python run.py -m {named}")
    (run,) = (RunFolder(folder) for folder in (out / "rows").iterdir() if (folder / "result.json").is_file())
    assert recomposed(run, ["metrics=fast"]).sampler.steps == 3  # the command line's, over the row's


@pytest.mark.slow
def test_a_dry_sweep_validates_every_job(random_wan, tmp_path):
    done = forked(random_wan, tmp_path, "dry=true", "window.l=3,4,5", f"output_dir={tmp_path / 'own'}")
    assert done.code == 1
    assert done.stderr.count("fastvmt: job") == 1
    assert "job 1: window.l=4" in done.stderr
    assert done.stdout.count("dry run: valid") == 2
    assert sorted(p.name for p in (tmp_path / "own" / "rows").iterdir()) == ["l=3", "l=4", "l=5"]
    assert not list((tmp_path / "own").glob("table.*"))


@pytest.mark.slow
def test_a_planned_sweep_ends_with_what_its_rows_cost_together(random_wan, tmp_path):
    done = forked(random_wan, tmp_path, "plan=true", "window.l=0,3", "window.tile=[2,2],[3,3]", "benchmark.cases=1")
    assert done.code == 0, done.stderr
    (told,) = (line for line in done.stdout.splitlines() if line.startswith("plan of all rows: "))
    assert told.startswith("plan of all rows: 4 rows; 3 cells; ") and "calibrated" in told
    assert told.endswith("made once, with the same videos: l=0,tile=[2,2] and l=0,tile=[3,3]")
    assert not list(tmp_path.glob("**/result.json"))


@pytest.mark.slow
def test_rows_of_several_models_can_differ(random_wan, tmp_path):
    (tmp_path / "other").symlink_to(random_wan)
    words = ("dry=true", f"backbone.path={random_wan},{tmp_path / 'other'}", f"output_dir={tmp_path / 'own'}")
    done = forked(random_wan, tmp_path, *words)
    assert done.code == 0, done.stderr
    assert "rows with the same videos" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(p.stem for p in (config_folder() / "experiment").glob("*.yaml")))
def test_every_experiment_is_valid(name):
    if name == "search":
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason='needs pip install "fastvmt[search]"')
    assert len(make_plan(composed(f"experiment={name}")).cases) >= 1
