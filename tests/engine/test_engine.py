"""Runs on a random model of Wan's architecture: files, resume, W&B, errors."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import wandb
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import fastvmt
from fastvmt.backbones.layout import BlockShape
from fastvmt.config import config_folder
from fastvmt.cost.flops import block_forward
from fastvmt.data.video import read_metadata, read_video, write_video
from fastvmt.engine.module import TransferModule
from fastvmt.engine.plan import UserError, make_plan
from fastvmt.engine.run import run
from fastvmt.results.record import case_key
from fastvmt.score.__main__ import main as score_files
from fastvmt.score.definitions import DEFINITIONS
from helpers.wandb_log import contents

ROOT = Path(__file__).parents[2]
SMALL = [
    "backbone.height=48",
    "backbone.width=48",
    "guidance.block=1",
    "sampler.steps=3",
    "guidance.iterations=2",
    "guidance.fraction=0.3",
    "skip.delta=2",
]


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        return compose("config", overrides=["output_dir=unused", *overrides])


@pytest.fixture
def job(random_wan: Path, tmp_path: Path):
    """Overrides of a tiny, fast run that writes to ``tmp_path``."""
    return [
        f"backbone.path={random_wan}",
        *SMALL,
        "device=cpu",
        f"output_dir={tmp_path / 'out'}",
        f"cache_dir={tmp_path / 'cache'}",
    ]


@pytest.mark.parametrize(("state", "watts"), [({"power_w": 71.5}, 71.5), ({"power_w": None}, None), (None, None)])
def test_idle_power_is_what_the_gpu_draws_before_the_first_case(job, monkeypatch, state, watts):
    nvml = None if state is None else SimpleNamespace(state=lambda: state)
    monkeypatch.setattr("fastvmt.engine.module.open_nvml", lambda *_: (nvml, ""))
    backbone = SimpleNamespace(device=torch.device("cpu"))
    assert TransferModule(make_plan(composed(*job)), backbone, None, None, "").idle_power_w == watts


def test_a_diverged_run_says_how_to_go_on_and_is_a_failed_one_in_wandb(job, tmp_path):
    with pytest.raises(UserError, match=r"not finite.*lower guidance\.lr or sampler\.cfg_scale"):
        run(composed(*job, "method=none", "sampler.cfg_scale=1e38"))
    wandb.teardown()  # what is still in its buffers reaches the file
    assert contents(tmp_path / "out")["exit_code"] == 1
    assert not (tmp_path / "out" / "result.json").exists()


def test_run_writes_every_file(job, tmp_path, capsys):
    scores = run(composed(*job, "lossless=true"))
    printed = capsys.readouterr().out
    for row in ("motion fidelity", "loop, seconds", "resident, gib", "energy, joules", "cpu energy, joules"):
        assert row in printed
    out = tmp_path / "out"
    result = json.loads((out / "result.json").read_text())
    (case,) = result["cases"]
    folder = out / "cases" / case["id"]
    for name in ("reference.mp4", "generated.mp4", "side_by_side.mp4", "motion.png", "trace.csv", "case.json"):
        assert (folder / name).stat().st_size > 0, name
    assert scores["text_similarity"] == pytest.approx(case["scores"]["text_similarity"])
    assert set(case["seconds"]) >= {"encode", "reference", "guide", "denoise", "decode", "total"}
    parts = sum(value for name, value in case["seconds"].items() if name != "total")
    assert case["seconds"]["total"] == pytest.approx(parts)
    seconds, cost = case["seconds"], case["cost"]
    loop = seconds["reference"] + seconds["guide"] + seconds["denoise"]
    assert cost["seconds"]["loop"] == pytest.approx(loop) == pytest.approx(result["seconds"]["loop"])
    assert cost["seconds"]["total"] == pytest.approx(seconds["total"])
    assert cost["seconds"]["metrics"] > 0 and cost["seconds"]["save"] > 0 and result["load_seconds"] > 0
    assert cost["memory_gib"]["resident"]["guide"] > 0.05 and cost["memory_gib"]["allocated"] is None
    assert cost["energy"]["total"] is None and cost["energy"]["reason"]
    block = BlockShape(width=48, ffn=64, text_tokens=16)  # tests/conftest.py
    assert cost["transformer_flops"]["forward"] == case["passes"]["block_forwards"] * block_forward(block, 5 * 6 * 6)
    assert result["costs"]["loop_seconds"]["n"] == result["costs"]["resident_gib"]["n"] == 1
    assert result["costs"]["allocated_gib"] == {"mean": None, "std": None, "seed_std": None, "n": 0, "missing": 1}
    assert result["lost"] == [] and result["gpu_at_start"] is result["idle_power_w"] is None
    assert len(result["backbone"]["weights_sha256"]) == 64
    assert result["versions"]["torch"] and result["hardware"]["cpus"]
    tags = read_metadata(folder / "generated.mp4")
    assert tags["comment"] == "AI-generated"
    assert tags["config_hash"] == result["config_hash"]
    assert read_video(folder / "generated.mp4").size[0] == 9
    exact = read_video(folder / "generated_lossless.mp4")
    assert list(exact.size) == [case["frames"], *case["size"]] == [9, 48, 48] and exact.fps == case["fps"]
    assert case["frames_sha256"]["generated"] == hashlib.sha256(exact.frames_THWC.numpy().tobytes()).hexdigest()
    assert len(case["frames_sha256"]["reference"]) == 64
    rows = list(csv.DictReader((folder / "trace.csv").open()))
    assert len(rows) == 2  # one guided step of two iterations
    assert [float(row["reused"]) for row in rows] == [0.0, 1.0]


def test_files_of_a_run_get_its_scores(job, tmp_path):
    run(composed(*job, "lossless=true", "logger=none"))
    (case,) = json.loads((tmp_path / "out" / "result.json").read_text())["cases"]
    folder, file = tmp_path / "out" / "cases" / case["id"], tmp_path / "scores.json"
    names = [str(folder / f"{name}_lossless.mp4") for name in ("generated", "reference")]
    assert score_files([*names, "--prompt", case["prompt"], "--output", str(file)]) == 0
    (record,) = json.loads(file.read_text())["clips"]
    only = {name for name, value in record["scores"].items() if value is None}
    assert {name for name in only if case["scores"][name] is not None} <= {
        "motion_fidelity_true",
        "motion_fidelity_dynamic_true",
        "trajectory_cosine",
        "trajectory_confidence",
    }
    assert record["notes"] == [] and len(set(record["scores"]) - only) > 8
    for name in set(record["scores"]) - only:
        assert record["scores"][name] == pytest.approx(case["scores"][name], abs=1e-6), name
    assert read_metadata(folder / "generated.mp4")["fastvmt_enlarged"] == "8"


def test_passes_equal_the_closed_form(job, tmp_path):
    run(composed(*job, "skip.delta=1", "guidance.fraction=0.67", "logger=none", "metrics=none"))
    assert not list((tmp_path / "out").glob("cases/*/generated_lossless.mp4"))  # only if asked for
    passes = json.loads((tmp_path / "out" / "result.json").read_text())["cases"][0]["passes"]
    depth, block, guided, iterations = 3, 1, 2, 2
    gradients = guided * iterations
    assert passes["gradients"] == gradients
    assert passes["block_backwards"] == gradients * block
    references = 1  # both levels are capped at guidance.reference_noise, so one is read
    assert passes["block_forwards"] == 2 * 3 * depth + gradients * block + references * block


def test_a_finished_case_is_not_run_again(job, tmp_path, monkeypatch):
    first = run(composed(*job, "logger=none"))

    def fail(*args, **kwargs):
        raise AssertionError("the case ran again")

    monkeypatch.setattr("fastvmt.engine.module.transfer_case", fail)
    assert run(composed(*job, "logger=none")) == pytest.approx(first, nan_ok=True)
    with pytest.raises(AssertionError, match="ran again"):
        run(composed(*job, "logger=none", "seed=7"))
    with monkeypatch.context() as other:
        other.setitem(DEFINITIONS, "motion_fidelity", replace(DEFINITIONS["motion_fidelity"], version=99))
        with pytest.raises(AssertionError, match="ran again"):
            run(composed(*job, "logger=none"))
    monkeypatch.setattr("fastvmt.backbones.wan.WanBackbone.fingerprint", "0" * 64)
    with pytest.raises(AssertionError, match="ran again"):
        run(composed(*job, "logger=none"))


def test_own_clip_and_python_function(job, tmp_path):
    run(composed(*job, "logger=none"))
    clip = next((tmp_path / "out" / "cases").glob("*/reference.mp4"))
    overrides = [item for item in job if not item.startswith("output_dir")]
    result = fastvmt.transfer(clip, "a dog on grass", overrides=overrides)
    assert result.video.size == (9, 48, 48)
    assert -1 <= result.scores["text_similarity"] <= 1
    assert {"motion_fidelity", "temporal_consistency"} <= set(result.scores)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["window.l=4"], "window.l=4"),
        (["benchmark=single"], "benchmark=single is one clip of your own"),
        (["window.sf=5"], "window.sf"),
        (["guidance.block=6"], "guidance.block=6"),
        (["skip.delta=9"], "skip.delta=9"),
        (["window.tile=[13,1]"], "window.tile"),
        (["backbone.frames=10"], "nearest legal value is backbone.frames=9"),
        (["backbone.height=90"], "multiple of 8"),
        (["+window.z=1"], "window.z"),
        (["+method.z=1"], "method.z"),
        (["sampler.strength=0"], "sampler.strength"),
        (["+logger.z=1"], "logger.z"),
        (["backbone.dtype=float8"], "backbone.dtype=float8 is out of range"),
        (["device=gpu"], "device=gpu is out of range: .* for all parts with device="),
        (["benchmark=world", "benchmark.seed=-1"], "benchmark.seed=-1"),
        ([f"video={ROOT / 'README.md'}", "prompt=x", "frame_policy=round_down"], "must be error or pad_last"),
        (["method=sdedit"], "sampler.strength=1.0 is out of range: it must be below 1 for method=sdedit"),
        (["video=nothing.mp4", "prompt=x"], "nothing.mp4"),
        (["metrics.frames=10"], "metrics.frames=10 must be in [2, 9]"),
        (["prompt=x"], "prompt= needs video=<file>"),
        (["reference_prompt=x"], "reference_prompt= needs video=<file>"),
        (["backbone.path=nowhere"], "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"),
        (["backbone=wan_1_3b"], "model_index.json"),
        (["benchmark.cases=0"], "benchmark.cases=0"),
        (["benchmark.categories=[fast]"], "fast"),
    ],
)
def test_what_the_user_can_mend_is_one_error(overrides, message):
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        make_plan(composed(*overrides))


@pytest.mark.parametrize(
    "bad",
    [
        "window.l=abc",
        "window.q=3",
        "skip.delta=1.5",
        "guidance.head_reduce=max",
        "nokey=1",
        "logger.mode=x",
        "trainer.accelerator=x",
    ],
)
def test_wrong_types_and_keys_fail_at_composition(bad):
    with pytest.raises(Exception, match=bad.split("=")[0].split(".")[-1]):
        composed(bad)


def test_short_clip_names_the_policies(job, tmp_path):
    run(composed(*job, "logger=none"))
    clip = next((tmp_path / "out" / "cases").glob("*/reference.mp4"))
    with pytest.raises(UserError, match="pad_last"):
        make_plan(composed(*job, f"video={clip}", "prompt=x", "start=4"))
    assert len(make_plan(composed(*job, f"video={clip}", "prompt=x", "start=4", "frame_policy=pad_last")).cases) == 1


def test_own_clip_brings_its_caption(job, tmp_path):
    clip = tmp_path / "clip.mp4"
    write_video(clip, make_plan(composed(*job)).cases[0].reference, {})
    own = [*job, f"video={clip}", "prompt=x"]
    assert make_plan(composed(*own)).cases[0].reference_prompt == ""
    told = [*own, "reference_prompt=a red car on sand"]
    assert make_plan(composed(*told)).cases[0].reference_prompt == "a red car on sand"
    same = make_plan(composed(*told, "benchmark=single")).cases[0]
    assert case_key(same) != case_key(replace(same, reference_prompt=""))


@pytest.mark.slow
def test_dry_run_and_help_on_the_command_line(random_wan, tmp_path):
    dry = subprocess.run(
        [sys.executable, "run.py", f"backbone.path={random_wan}", *SMALL, "dry=true", f"output_dir={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert dry.returncode == 0, dry.stderr[-2000:]
    assert "valid" in dry.stdout
    wrong = subprocess.run(
        [sys.executable, "run.py", "window.l=4", f"output_dir={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert wrong.returncode != 0
    assert "window.l=4" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    shown = subprocess.run([sys.executable, "run.py", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "window.sf" in shown.stdout
    assert "benchmark: demo" in shown.stdout
