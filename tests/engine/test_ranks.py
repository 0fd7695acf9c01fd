"""Cases dealt to processes: one folder, every case once, all of them in the results; limits of the trainer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from torch.utils.data import SequentialSampler

from fastvmt.engine.datamodule import Timely
from fastvmt.engine.run import run
from fastvmt.engine.trainer import check_trainer_values
from fastvmt.errors import UserError
from fastvmt.ranks import shared_folder
from helpers.config import composed
from helpers.wandb_log import contents

ROOT = Path(__file__).parents[2]


def test_no_case_begins_after_the_limit() -> None:
    timely = Timely(SequentialSampler(range(3)), timedelta(0))
    assert (list(timely), timely.cut, len(timely)) == ([], True, 3)
    timely = Timely(SequentialSampler(range(3)), timedelta(hours=1))
    assert (list(timely), timely.cut) == ([0, 1, 2], False)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.precision=16", r"trainer\.precision=16: precision is the backbone's, set backbone\.dtype"),
        ("trainer.strategy=fsdp", r"trainer\.strategy=fsdp .* one of auto, ddp"),
        ("trainer.limit_test_batches=1.5", r"trainer\.limit_test_batches=1\.5"),
        ("trainer.profiler=x", r"trainer\.profiler=x .* one of simple, advanced, pytorch"),
        ("trainer.max_time=12h", r"trainer\.max_time=12h .* DD:HH:MM:SS"),
        ("trainer.callbacks=[3]", r"trainer\.callbacks\[0\]=3 .* \{_target_: class"),
        ("trainer.num_nodes=2", r"trainer\.num_nodes=2 needs output_dir="),
        ("trainer.callbacks=[{_target_: os.system}]", r"trainer\.callbacks\[0]\._target_=os\.system is no class"),
        ("trainer.callbacks=[{_target_: fastvmt.methods.none.NoTransfer}]", r"NoTransfer is no lightning\.Callback"),
    ],
)
def test_values_of_the_trainer_that_cannot_be(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_trainer_values(composed(override).trainer)


def test_a_run_of_some_cases_under_a_profiler_with_a_callback(job: list[str], tmp_path: Path) -> None:
    callback = "trainer.callbacks=[{_target_: fastvmt.engine.callback.RunCallback}]"
    limits = ["trainer.limit_test_batches=1", "trainer.profiler=simple", callback]
    run(composed(*job, *limits, "benchmark.cases=2", "metrics=none", "logger=none"))
    assert len(json.loads((tmp_path / "out" / "result.json").read_text())["cases"]) == 1
    assert "test_step" in next((tmp_path / "out").glob("*profile*")).read_text()


@pytest.mark.slow
def test_two_processes_share_the_cases_and_one_folder(small: list[str], tmp_path: Path) -> None:
    words = [*small, "trainer.devices=2", "trainer.accelerator=cpu", "benchmark.cases=3", "metrics=fast"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *words],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("outputs/*/*")
    result = json.loads((folder / "result.json").read_text())
    ids = [case["id"] for case in result["cases"]]
    assert len(set(ids)) == len(ids) == 3 == len(list(folder.glob("cases/*/case.json")))
    assert done.stdout.count("results: ") == 1
    history = contents(folder)["history"]
    assert [row["case/index"] for row in history if "case/seconds/total" in row] == [0, 1, 2]
    assert sum("inner/loss" in row for row in history) == 2  # iterations, means over the cases
    (videos,) = ([key for key in row if key.startswith("video/")] for row in history if any("video/" in k for k in row))
    assert sorted({key.split("/")[1] for key in videos}) == sorted(folder.name for folder in folder.glob("cases/*"))


@pytest.mark.slow
def test_processes_of_torchrun_share_the_default_folder(small: list[str], tmp_path: Path) -> None:
    words = [*small, "trainer.devices=2", "trainer.accelerator=cpu", "benchmark.cases=3", "metrics=none", "logger=none"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(ROOT / "run.py"), *words],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("outputs/*/*")
    ids = [case["id"] for case in json.loads((folder / "result.json").read_text())["cases"]]
    assert len(set(ids)) == len(ids) == 3 == len(list(folder.glob("cases/*/case.json")))
    assert done.stdout.count("results: ") == 1


TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}


def test_the_folder_is_shared_where_it_is_not_given_and_the_parent_is_one() -> None:
    assert shared_folder(["seed=1"], {}) == []
    first, second = (shared_folder(["seed=1"], TORCHRUN | {"LOCAL_RANK": rank}) for rank in "01")
    assert first == second[:1] and first[0].startswith("output_dir=outputs/2")
    assert second[1:] == ["hydra.output_subdir=null"]
    assert shared_folder(["output_dir=mine"], TORCHRUN) == []
    assert shared_folder(["seed=1"], TORCHRUN | {"WORLD_SIZE": "4"}) == []  # of two machines


def test_processes_of_torchrun_that_would_all_run_all_cases_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"trainer\.devices=1, but torchrun started 2 .* set trainer\.devices=2"):
        check_trainer_values(composed().trainer)
    check_trainer_values(composed("trainer.devices=2").trainer)
    check_trainer_values(composed("trainer.devices=auto").trainer)
