"""Launchers of sweeps: jobs in processes of their own, each on a GPU of its own where there are any."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from fastvmt.claims import claim_gpu
from fastvmt.compose_errors import explained
from fastvmt.config import config_folder
from fastvmt.errors import UserError

ROOT = Path(__file__).parents[2]
LOCAL = "import os, pathlib, sys; from fastvmt.claims import claim_gpu; "


def sweep(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A dry sweep of three jobs, the second of which cannot be."""
    own = f"output_dir={folder / 'own'}"
    command = [sys.executable, str(ROOT / "run.py"), "-m", "dry=true", "window.l=3,4,5", own, *words]
    own_code = os.environ | {"PYTHONPATH": str(ROOT)}  # submitit's processes start elsewhere
    return subprocess.run(command, cwd=folder, env=own_code, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("hydra_joblib_launcher", ["hydra/launcher=local"]),
        ("hydra_submitit_launcher", ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10"]),
    ],
)
def test_jobs_run_in_processes_and_a_bad_one_is_told(tmp_path: Path, package: str, words: list[str]) -> None:
    pytest.importorskip(f"hydra_plugins.{package}", reason='needs pip install "fastvmt[launchers]"')
    done = sweep(tmp_path, *words)
    assert done.returncode == 1, done.stderr
    assert "fastvmt: a job of the sweep failed; the others ran" in done.stderr and "Traceback" not in done.stderr
    logs = [*tmp_path.glob("own/.submitit/*/*.err"), *tmp_path.glob("own/.submitit/*/*.out")]
    told = done.stdout + done.stderr + "".join(log.read_text() for log in logs)
    assert told.count("dry run: valid") == 2 and "job 1: window.l=4" in told
    assert sorted(p.name for p in (tmp_path / "own").iterdir() if p.name.isdigit()) == ["0", "1", "2"]


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
