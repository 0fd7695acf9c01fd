"""Hydra 1.3 and 1.4 are both told what they ask for, and nothing of theirs reaches the user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from experiments.checks.fork import run_command
from fastvmt.compose import mode_words, own_folder
from fastvmt.construct import PLUGINS
from fastvmt.versions import main_options, register_resolver

ROOT = Path(__file__).parents[1]
LISTS = "execution_whitelist" in main_options()


def command(*words: str) -> subprocess.CompletedProcess[str]:
    done = [sys.executable, "run.py", "dry=true", "logger=none", *words]
    return subprocess.run(done, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(not LISTS, reason="Hydra 1.3 has no list of the classes that its own nodes may name")
@pytest.mark.parametrize("target", ["os.system", "builtins.exec", "fastvmt_evil.Study", "subprocess.Popen"])
def test_hydra_s_own_nodes_run_no_other_code(target: str, tmp_path: Path) -> None:
    done = command(f"+hydra.callbacks.other._target_={target}", f"output_dir={tmp_path / 'out'}")
    assert done.returncode == 2 and target in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(not LISTS, reason="Hydra 1.3 has no list of the classes that its own nodes may name")
def test_the_user_s_packages_are_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS, "mine, ours")
    assert main_options()["execution_whitelist"] == ["fastvmt.*", "mine.*", "ours.*", "optuna.samplers.*"]


def test_a_resolver_is_known_and_can_be_replaced() -> None:
    for value in (1, 2):
        register_resolver("of_this_test", lambda value=value: value)
        assert OmegaConf.create({"key": "${of_this_test:}"}).key == value


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        (["experiment=table_delta"], "MULTIRUN"),
        (["experiment=tune_reuse", "seed=3"], "MULTIRUN"),
        (["experiment=smoke"], None),
        (["window.l=3"], None),
        (["-m", "experiment=table_delta"], None),
        (["experiment=table_delta", "hydra.mode=RUN"], None),
        (["experiment=nosuch"], None),
    ],
)
def test_an_experiment_that_is_a_sweep_is_told_to_later_versions(words: list[str], mode: str | None) -> None:
    expected = [] if mode is None else [f"hydra.mode={mode}"]
    assert mode_words(words) == (expected if LISTS else [])


@pytest.mark.slow
def test_a_table_is_a_sweep_without_being_told_to_be_one(tmp_path: Path) -> None:
    words = ("dry=true", "logger=none", "experiment=table_delta", "skip.delta=1,3")
    done = run_command(("run", *words), tmp_path)
    assert done.code == 0 and done.stdout.count("inner iterations per case") == 5  # two and three rows beside them


@pytest.mark.parametrize("words", [["--config-dir", "here"], ["--config-dir=here"], ["-cd", "here"]])
def test_an_experiment_of_the_user_s_own_is_told_too(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "here" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# @package _global_\nhydra: {mode: MULTIRUN}\n")
    assert own_folder(words) == tmp_path / "here"
    assert mode_words([*words, "experiment=mine"]) == (["hydra.mode=MULTIRUN"] if LISTS else [])
