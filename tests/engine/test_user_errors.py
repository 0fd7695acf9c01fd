"""What the user can mend ends in one line that names it, before or instead of a traceback."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import fastvmt
from fastvmt.benchmarks.reference import ManifestError
from fastvmt.claims import claim_folder
from fastvmt.engine.plan import make_plan
from fastvmt.engine.resources import check_devices, check_folder, check_trainer
from fastvmt.engine.run import run, study_folder, transfer_all
from fastvmt.errors import UserError
from fastvmt.results.provenance import commit
from fastvmt.stopping import Stopped
from helpers.config import composed


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=ditflow", "method.lr=abc"], r"method\.lr=abc is out of range: it must be a finite number"),
        (["benchmark=world", "benchmark.cases=abc"], r"benchmark\.cases=abc is out of range: it must be int"),
        (["tracker.side=abc"], r"tracker\.side=abc"),
        (["backbone.frames=abc"], r"backbone\.frames=abc"),
        (["backbone.path=null"], r"backbone\.path=None"),
        (["backbone.max_tokens=0"], r"backbone\.max_tokens=0"),
        (["backbone.fps=0"], r"backbone\.fps=0 is out of range: it must be in \(0, 1000"),
        (["metrics.frames=abc"], r"metrics\.frames=abc is out of range: it must be int or null"),
        (["method=motion_director", "method.tuning.iterations=abc"], r"method\.tuning\.iterations=abc .* must be int"),
        (["+backbone.foo=3"], r"backbone\.foo is not a key of backbone"),
        (["+metrics.foo=3"], r"metrics\.foo is not a key of metrics; it has also,"),
        (["+tracker.foo=3"], r"tracker\.foo is not a key of tracker"),
        (["seed=99999999999999999999"], r"seed=9+ is out of range: it must be in \[0, 4294967295]"),
        (["backbone.fps=inf"], r"backbone\.fps=inf is out of range: it must be a finite number"),
        (["backbone.max_tokens=1000000000000"], r"backbone\.max_tokens=1000000000000"),
        (["backbone.height=160000"], r"backbone\.height=160000 is out of range"),
        (["method=ditflow", "method.lr=1e300"], r"method\.lr=1e\+300"),
        (["method=moft", "method.reference_seed=99999999999"], r"method\.reference_seed=9+"),
        (["metrics.names=[nope]"], r"metrics\.names has 'nope'"),
        (["metrics.clip.scale=inf"], r"metrics\.clip\.scale=inf"),
        (["metrics.clip.model=3"], r"metrics\.clip\.model=3"),
        (["metrics.weights.dino=[]"], r"metrics\.weights=.*'dino': \[\].* a map of keys to values"),
        (["benchmark.categories=3"], r"benchmark\.categories=3 .* a list of str"),
        (["benchmark.seed=99999999999"], r"benchmark\.seed=9+"),
        (["trainer.devices=1000000"], r"trainer\.devices=1000000"),
        (["trainer.devices=0"], r"trainer\.devices=0"),
        (["trainer.devices=abc"], r"trainer\.devices=abc"),
        (["metrics.frames=0"], r"metrics\.frames=0 .* in \[2, 9\]"),
        (["metrics.clip.architecture=0"], r"metrics\.clip\.architecture=0"),
        *(
            ([f"{key}={'x' * 300}"], rf"{key}=xxxxxxxxxxxxxxxxxxxx\.\.\. has a name of 300 bytes")
            for key in ("video", "backbone.path", "cache_dir", "provenance.watermark", "logger.project")
        ),
        (["video=", "prompt=a dog"], "video= is empty"),
        (["fps=8"], "fps= needs video=<file>"),
        (["video=a.mp4", "prompt=???"], r"prompt=\?\?\? is no value"),
        (["negative_prompt=dark"], "negative_prompt= needs video=<file>"),
        (["frame_policy=pad_last"], "frame_policy= needs video=<file>"),
        (["cut_policy=ignore"], "cut_policy= needs video=<file>"),
    ],
)
def test_values_are_checked_before_weights_load(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(composed(*overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["metrics=vbench"], r"metrics\.clip\.model|metrics\.weights"),
        (["tracker=raft"], r"tracker\.weights=.*does not exist"),
        (["tracker=lk", "tracker.levels=99"], r"tracker\.levels=99"),
        (["trainer.accelerator=gpu"], r"trainer\.accelerator=gpu: torch finds no GPU"),
        (["trainer.devices=[1]"], r"trainer\.devices=\[1\]: a CPU has no numbers"),
        (["trainer.limit_test_batches=0.1"], r"limit_test_batches=0\.1: at least 1 of 1 cases .* share from 1 to 1"),
        (["logger.project=a/b"], r"logger: .*project"),
    ],
)
def test_a_dry_run_sees_what_a_run_would(overrides, message, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run(composed("dry=true", f"output_dir={tmp_path}", "cache_dir=null"))
    with pytest.raises(UserError, match=message):
        run(composed("dry=true", f"output_dir={tmp_path}", "cache_dir=null", *overrides))


@pytest.mark.parametrize("mode", ["dry", "plan"])
@pytest.mark.parametrize("damage", [b"", b"no weights"])
def test_a_dry_run_and_a_plan_read_the_beginning_of_weights(damage, mode, tmp_path) -> None:
    (tmp_path / "ViT-B-32.pt").write_bytes(damage)
    words = (f"{mode}=true", f"output_dir={tmp_path}", "metrics=fast", f"metrics.clip.model={tmp_path}/ViT-B-32.pt")
    with pytest.raises(UserError, match=r"ViT-B-32\.pt' is damaged or not a file"):
        run(composed(*words))


@pytest.mark.parametrize(
    "key", ["prompt", "negative_prompt", "reference_prompt", "video", "backbone.path", "cache_dir"]
)
@pytest.mark.parametrize("word", ["a dog \udcff", "\ud800"])
def test_words_that_are_no_text_are_told(key: str, word: str) -> None:
    """Bytes of a command line that are no UTF-8, which no tokenizer and no log takes."""
    cfg = composed()
    OmegaConf.update(cfg, key, word)
    with pytest.raises(UserError, match=rf"^{key}=.*\\ud[c8].* has bytes that are no UTF-8") as refused:
        make_plan(cfg)
    str(refused.value).encode()


def test_a_preset_that_does_not_exist_is_an_error() -> None:
    for words in (["preset=tinywan"], ["method=ditflow", "method/preset@method=ditflow_wan"]):
        with pytest.raises(UserError, match=rf"{words[-1]} does not exist: .*none.*tiny_wan"):
            composed(*words)
    composed("preset=none", "method=ditflow", "method/preset@method=none", "backbone=wan_1_3b")


def test_a_folder_takes_the_results_of_one_process_at_a_time(small: list[str], tmp_path: Path) -> None:
    with claim_folder(tmp_path), pytest.raises(UserError, match=r"^output_dir=.*: another process writes its results"):
        run(composed(*small, f"output_dir={tmp_path}", "metrics=none", "logger=none"))
    assert list(tmp_path.iterdir()) == []
    with claim_folder(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_the_shipped_model_is_found_beside_a_folder_of_results_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make_plan(composed()).layout
    (tmp_path / "tiny-wan").mkdir()
    monkeypatch.chdir(tmp_path)
    assert make_plan(composed()).layout == before


@pytest.mark.parametrize("devices", ["2", "[0,1]", "auto"])
def test_devices_may_be_a_count_a_list_or_auto(devices: str) -> None:
    make_plan(composed(f"trainer.devices={devices}"))


def test_folders_and_devices_are_checked_before_weights_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for key in ("output_dir", "cache_dir"):
        blocked = {"output_dir": str(tmp_path), "cache_dir": None} | {key: str(tmp_path / "file" / "x")}
        with pytest.raises(UserError, match=rf"{key}=.*cannot be written to: .*set {key}=<folder>"):
            check_folder(DictConfig(blocked), key)
    for key in ("output_dir", "cache_dir"):
        check_folder(DictConfig({"output_dir": str(tmp_path / "new"), "cache_dir": None}), key)
    assert list((tmp_path / "new").iterdir()) == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"metrics\.device=cuda:1: torch finds no CUDA device"):
        check_devices(DictConfig({"metrics": {"device": "cuda:1"}}))


@pytest.mark.parametrize(
    ("overrides", "gpus", "message"),
    [
        (["trainer.accelerator=gpu"], 0, r"trainer\.accelerator=gpu: torch finds no GPU"),
        (["trainer.devices=1000000"], 0, r"trainer\.devices=1000000: this machine has \d+ CPU cores"),
        (["trainer.devices=3"], 2, r"trainer\.devices=3: this machine has 2 GPUs"),
        (["trainer.devices=[0,2]"], 2, r"trainer\.devices=\[0, 2\]: this machine has 2 GPUs"),
    ],
)
def test_devices_that_are_not_there_are_told_early(overrides, gpus, message, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(UserError, match=message):
        check_trainer(composed(*overrides))


def test_a_signal_passes_and_stops_the_other_processes() -> None:
    def stopped(*_: object, **__: object) -> None:
        raise Stopped(143)

    sent: list[int] = []
    trainer = SimpleNamespace(test=stopped, strategy=SimpleNamespace(launcher=SimpleNamespace(kill=sent.append)))
    plan = SimpleNamespace(cases=None, cfg=SimpleNamespace(output_dir="x", trainer=SimpleNamespace(max_time=None)))
    with pytest.raises(Stopped) as stop:
        transfer_all(trainer, None, plan)
    assert (stop.value.code, sent) == (143, [signal.SIGTERM])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EFBIG])
def test_a_disk_that_takes_no_more_is_named(number) -> None:
    def failed(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    plan = SimpleNamespace(cases=None, cfg=SimpleNamespace(output_dir="x", trainer=SimpleNamespace(max_time=None)))
    with pytest.raises(UserError, match=rf"output_dir=x: {os.strerror(number)}; finished cases are kept, run again"):
        transfer_all(SimpleNamespace(test=failed), None, plan)


def test_a_clip_that_changes_meanwhile_is_one_line() -> None:
    def test(*_: object, **__: object) -> None:
        raise ManifestError("dog cannot be used: video 'dog' does not exist")

    plan = SimpleNamespace(cases=None, cfg=SimpleNamespace(output_dir="x", trainer=SimpleNamespace(max_time=None)))
    with pytest.raises(UserError, match=r"dog cannot be used: .* finished cases are kept, run again with output_dir=x"):
        transfer_all(SimpleNamespace(test=test), None, plan)


def test_a_row_goes_on_by_the_folder_of_its_study(monkeypatch: pytest.MonkeyPatch) -> None:
    assert study_folder(Path("out")) == Path("out")
    monkeypatch.setattr("fastvmt.engine.run.in_sweep", lambda: True)
    monkeypatch.setattr(HydraConfig, "get", lambda: SimpleNamespace(sweep=SimpleNamespace(dir="study")))
    assert study_folder(Path("study/rows/l=3")) == Path("study")


def test_the_python_function_has_one_kind_of_error() -> None:
    with pytest.raises(UserError, match=r"overrides=\['window\.z=1'\]"):
        fastvmt.transfer("clip.mp4", "a dog on grass", overrides=["window.z=1"])


def test_commit_is_that_of_the_packages_own_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    package = tmp_path / "site" / "fastvmt"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (tmp_path / "other.txt").write_text("")
    try:
        for words in (["init", "-q"], ["add", "other.txt"], ["commit", "-qm", "another project"]):
            subprocess.run([*git, *words], check=True)
    except OSError:
        pytest.skip("no git here")
    assert commit(package) is None
    subprocess.run([*git, "add", "."], check=True)
    told = commit(package)
    assert told is not None and len(told) == 40
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit(package) is None
