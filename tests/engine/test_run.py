"""Runs on a random model of Wan's architecture: files, resume, W&B, errors, what is printed."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import wandb

from experiments.checks.fork import run_command
from fastvmt.backbones.layout import BlockShape
from fastvmt.backbones.wan import WanBackbone
from fastvmt.cost.flops import block_forward
from fastvmt.data.video import read_metadata, read_video, write_video
from fastvmt.engine import case_files
from fastvmt.engine.plan import make_plan
from fastvmt.engine.run import run
from fastvmt.errors import UserError
from fastvmt.results.case_record import case_key
from fastvmt.results.folder import RunFolder
from fastvmt.score.command import main as score_files
from fastvmt.score.registry import entries
from fastvmt.studies.table_command import make_table
from helpers.config import composed
from helpers.wandb_log import contents

ROOT = Path(__file__).parents[2]


def test_a_diverged_run_says_how_to_go_on_and_is_a_failed_one_in_wandb(job, tmp_path, monkeypatch):
    monkeypatch.setattr("fastvmt.backbones.wan.WanBackbone.velocity", lambda self, latents, *_: latents * torch.inf)
    with pytest.raises(UserError, match=r"velocity are not finite.*backbone\.dtype"):
        run(composed(*job, "method=none", "on_diverged=stop"))
    wandb.teardown()  # what is still in its buffers reaches the file
    assert contents(tmp_path / "out")["exit_code"] == 1
    assert not (tmp_path / "out" / "result.json").exists()


def test_a_run_prints_its_tables(job, tmp_path, capsys):
    means = run(composed(*job, "logger=none", "lossless=true"))
    printed = capsys.readouterr().out
    for row in ("motion fidelity", "loop with reference, seconds", "resident, gib"):
        assert row in printed
    assert "(not measured here)" in " ".join(printed.split())  # a GPU's memory, at least
    (case,) = RunFolder(tmp_path / "out").records()
    assert means["text_similarity"] == pytest.approx(case.scores["text_similarity"])
    assert str(RunFolder(tmp_path / "out").case(case.id).side_by_side) in printed


def test_run_writes_every_file(finished_run):
    out = finished_run
    result = json.loads((out / "result.json").read_text())
    (case,) = result["cases"]
    folder = out / "cases" / case["id"]
    for name in ("reference.mp4", "generated.mp4", "side_by_side.mp4", "motion.png", "trace.csv", "case.json"):
        assert (folder / name).stat().st_size > 0, name
    assert set(case["seconds"]) >= {"encode", "reference", "guide", "denoise", "decode", "total"}
    parts = sum(value for name, value in case["seconds"].items() if name != "total")
    assert case["seconds"]["total"] == pytest.approx(parts)
    seconds, cost = case["seconds"], case["cost"]
    loop = seconds["reference"] + seconds["guide"] + seconds["denoise"]
    for found in (cost["seconds"], result["seconds"]):
        assert found["loop_with_reference"] == pytest.approx(loop)
    assert cost["seconds"]["total"] == pytest.approx(seconds["total"])
    assert cost["seconds"]["metrics"] > 0 and cost["seconds"]["save"] > 0 and result["load_seconds"] > 0
    assert cost["memory_gib"]["resident"]["guide"] > 0.05 and cost["memory_gib"]["allocated"] is None
    assert cost["energy"]["total"] is None and cost["energy"]["reason"]
    block = BlockShape(width=48, ffn=64, text_tokens=16)  # experiments/random_folder.py
    assert cost["transformer_flops"]["forward"] == case["passes"]["block_forwards"] * block_forward(block, 5 * 6 * 6)
    assert result["costs"]["loop_with_reference_seconds"]["n"] == result["costs"]["resident_gib"]["n"] == 1
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


def test_files_of_a_run_get_its_scores(finished_run, tmp_path):
    (case,) = json.loads((finished_run / "result.json").read_text())["cases"]
    folder, file = finished_run / "cases" / case["id"], tmp_path / "scores.json"
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
    unsure = ["it is undefined for this video: motion fidelity n/a"] if "motion_fidelity" in only else []
    assert record["notes"] == unsure and len(set(record["scores"]) - only) > 8
    for name in set(record["scores"]) - only:
        assert record["scores"][name] == pytest.approx(case["scores"][name], abs=1e-6), name
    assert read_metadata(folder / "generated.mp4")["fastvmt_enlarged"] == str(case_files.VIEW_SIDE // 48)


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

    monkeypatch.setattr("fastvmt.engine.session.transfer_case", fail)
    assert run(composed(*job, "logger=none")) == pytest.approx(first, nan_ok=True)
    for change in ("seed=7", "skip.delta=1"):
        with pytest.raises(UserError, match="overwrite=true"):
            run(composed(*job, "logger=none", change))
        with pytest.raises(AssertionError, match="ran again"):
            run(composed(*job, "logger=none", change, "overwrite=true"))
    with monkeypatch.context() as other:
        other.setitem(entries(), "motion_fidelity", replace(entries()["motion_fidelity"], version=99))
        run(composed(*job, "logger=none"))  # another definition is computed from the kept pixels
        (record,) = RunFolder(tmp_path / "out").records()
        assert record.score_versions["motion_fidelity"] == 99
    next((tmp_path / "out").glob("cases/*/generated.mp4")).write_bytes(b"")
    with pytest.raises(AssertionError, match="ran again"):
        run(composed(*job, "logger=none"))


def test_short_clip_names_the_policies(job, finished_run):
    clip = next((finished_run / "cases").glob("*/reference.mp4"))
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
def test_dry_run_and_help_on_the_command_line(small, tmp_path):
    dry = run_command(("run", *small, "dry=true", f"output_dir={tmp_path / 'dry'}"), tmp_path)
    assert dry.code == 0, dry.stderr[-2000:]
    assert "valid" in dry.stdout
    wrong = run_command(("run", "window.l=4", f"output_dir={tmp_path / 'wrong'}"), tmp_path)
    assert wrong.code != 0
    assert "window.l=4" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    shown = subprocess.run([sys.executable, "run.py", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "window.sf" in shown.stdout
    assert "benchmark: demo" in shown.stdout


def test_a_diverged_case_is_a_result_of_its_own(job, tmp_path, monkeypatch, capsys):
    """Of two cases the second diverges: it has no scores, no video and no place in the means, and is done."""
    words = [*job, "method=none", "benchmark=world", "benchmark.cases=2", "logger=none"]
    decode, calls = WanBackbone.decode, []

    def spoilt(self, latents):
        calls.append(latents)
        return decode(self, latents * (torch.nan if len(calls) == 2 else 1))

    monkeypatch.setattr(WanBackbone, "decode", spoilt)
    means = run(composed(*words))
    assert "without 1 of 2 that diverged" in " ".join(capsys.readouterr().out.split())
    good, bad = RunFolder(tmp_path / "out").records()
    assert good.diverged is None and "decoded frames" in bad.diverged.what
    assert bad.scores.keys() == good.scores.keys() and all(math.isnan(value) for value in bad.scores.values())
    assert "generated" not in bad.frames_sha256 and not RunFolder(tmp_path / "out").case(bad.id).generated.exists()
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["diverged"] == 1 and result["costs"]["loop_with_reference_seconds"]["n"] == 1
    assert means["temporal_consistency"] == good.scores["temporal_consistency"]
    assert "| diverged" in make_table([tmp_path / "out"], None, tmp_path / "table")
    run(composed(*words))
    assert len(calls) == 2, "finished cases run again"


def test_a_run_of_diverged_cases_alone_fails(job, tmp_path, monkeypatch):
    monkeypatch.setattr(WanBackbone, "velocity", lambda self, latents, *_: latents * torch.inf)
    with pytest.raises(UserError, match=r"all 1 cases diverged.*velocity"):
        run(composed(*job, "method=none", "logger=none"))
    assert json.loads((tmp_path / "out" / "result.json").read_text())["diverged"] == 1
