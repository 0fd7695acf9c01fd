"""Launchers of sweeps: jobs in processes of their own, each on a GPU of its own where there are any."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from experiments.checks.fork import run_command
from experiments.checks.trial import Outcome
from fastvmt.claims import claim_gpu
from fastvmt.compose_errors import explained
from fastvmt.config import config_folder
from fastvmt.errors import UserError
from fastvmt.studies.rows import labels, read_rows
from fastvmt.study import Study

ROOT = Path(__file__).parents[2]
NEEDED = 'needs pip install "fastvmt[launchers]"'
LOCAL = "import os, pathlib, sys; from fastvmt.claims import claim_gpu; "


def swept(folder: Path, patch: pytest.MonkeyPatch, *words: str) -> Outcome:
    """Sweep in a fork of this process; the launchers' processes start anew."""
    patch.setenv("PYTHONPATH", str(ROOT))  # they start elsewhere
    done = run_command(("run", "-m", f"output_dir={folder / 'own'}", *words), folder)
    assert done.code == 1, done.stderr
    assert "fastvmt: a job of the sweep failed, see above" in done.stderr and "Traceback" not in done.stderr
    return done


@pytest.mark.slow
def test_joblib_transfers_in_processes_and_a_bad_job_is_told(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason=NEEDED)
    plain = [*small, "metrics=none", "logger=none"]
    done = swept(tmp_path, monkeypatch, "hydra/launcher=local", "window.l=3,4,5", *plain)
    assert "job 1: window.l=4" in done.stderr
    assert "fastvmt: failed: l=4: window.l=4" in done.stderr and "again: python run.py -m " in done.stderr
    rows = tmp_path / "own" / "rows"
    assert sorted(file.relative_to(rows).parts[0] for file in rows.glob("*/cases/*/case.json")) == ["l=3", "l=5"]
    assert labels(read_rows([tmp_path / "own"])) == ["l=3", "l=5"]
    assert "| `l=5` | 1 |" in (tmp_path / "own" / "table.md").read_text()


@pytest.mark.parametrize(("launcher", "told"), [("basic", []), ("local", [("local",)])])
def test_a_plan_in_other_processes_is_warned_of(
    launcher: str, told: list[tuple[str]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fastvmt.study.compose_once", lambda _: None)
    monkeypatch.setattr(GlobalHydra, "config_loader", lambda _: None)
    hydra = {"runtime": {"choices": {"hydra/launcher": launcher}}, "sweeper": {"_target_": "a search's"}}
    Study().on_multirun_start(OmegaConf.create({"plan": True, "hydra": hydra}))
    assert [record.args for record in caplog.records] == told


@pytest.mark.slow
def test_submitits_jobs_run_in_processes_and_a_bad_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason=NEEDED)
    local = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10"]
    swept(tmp_path, monkeypatch, *local, "window.l=5,4", "dry=true")
    folder = tmp_path / "own"
    logs = "".join(log.read_text() for kind in ("out", "err") for log in folder.glob(f".submitit/*/*.{kind}"))
    assert logs.count("dry run: valid") == 1 and "job 1: window.l=4" in logs
    assert sorted(row.name for row in (folder / "rows").iterdir()) == ["l=4", "l=5"]


def test_a_launcher_without_its_package_says_what_to_install() -> None:
    for name in ("joblib", "submitit_slurm"):
        error = MissingConfigException("", f"hydra/launcher/{name}", ["basic", "local"])
        assert 'pip install "fastvmt[launchers]"' in explained(error, ["hydra/launcher=local"])


def test_every_launcher_names_one_of_hydra() -> None:
    launchers = {file.stem: OmegaConf.load(file) for file in (config_folder() / "hydra/launcher").glob("*.yaml")}
    named = {name: launcher.defaults[0] for name, launcher in launchers.items()}
    assert named == {"local": "joblib", "gpus": "joblib", "slurm": "submitit_slurm"}


def test_processes_claim_different_gpus_until_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("FASTVMT_GPU_CLAIMED_BY", "another process")
    code = LOCAL + "claim_gpu(pathlib.Path(sys.argv[1])); print(os.environ['CUDA_VISIBLE_DEVICES']); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "0,1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline().strip() == "0"
        claim_gpu(tmp_path)
        claim_gpu(tmp_path)  # a second job of the same process keeps its GPU
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
        monkeypatch.setenv("FASTVMT_GPU_CLAIMED_BY", "another process")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
        with pytest.raises(
            UserError, match=r"hydra/launcher=gpus: none of 2 GPUs is free: lower hydra\.launcher\.n_jobs"
        ):
            claim_gpu(tmp_path)
    finally:
        holder.communicate("\n", timeout=60)
    claim_gpu(tmp_path)  # what the other process had is free again
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
