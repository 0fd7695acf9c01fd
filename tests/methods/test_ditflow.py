"""DiTFlow's injected keys and learned embeddings: how they act, are kept, and are refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fastvmt.backbones.wan import WanBackbone
from fastvmt.engine.run import run
from fastvmt.files import write_tensors
from fastvmt.methods.none import NoTransfer
from fastvmt.sampling import euler_step
from fastvmt.schedule import add_noise, seeded_noise, sigma_schedule
from fastvmt.types import TransferCase
from helpers.config import composed
from helpers.methods import method_of
from helpers.transfers import SAMPLER, distinct_job, same, transfer
from helpers.velocities import guided_velocity


def test_injection_denoises_with_the_references_keys(backbone: WanBackbone, case: TransferCase) -> None:
    job, method = distinct_job(backbone, case), method_of("ditflow", "inject=true")
    x = seeded_noise(job.reference.shape, 2, backbone.device)
    sigma, following = job.sigmas[1:3]
    guided = method.guide(distinct_job(backbone, case), 1, x, sigma)
    with backbone.keys_and_values_of(add_noise(job.reference, job.noise, sigma), sigma, job.text):
        expected = guided_velocity(backbone, guided, sigma, job.text, job.negative, 3.0)
    torch.testing.assert_close(method.step(job, 1, x, sigma, following), euler_step(guided, expected, sigma, following))
    plain = guided_velocity(backbone, guided, sigma, job.text, job.negative, 3.0)
    assert (expected - plain).abs().max() > 1e-4
    unguided = guided_velocity(backbone, x, sigma, job.text, job.negative, 3.0)
    torch.testing.assert_close(method.step(job, 2, x, sigma, following), euler_step(x, unguided, sigma, following))
    moved, without = (one.guide(distinct_job(backbone, case), 0, x, 1.0) for one in (method, method_of("ditflow")))
    assert not torch.equal(moved, without)  # in the optimisation, too


def test_embeddings_are_learned_carried_on_and_dropped(backbone: WanBackbone, case: TransferCase) -> None:
    result = transfer(backbone, method_of("ditflow", "target=embedding", "rope=true", "iterations=6"), case)
    assert set(result.learned) == {"rotation_000", "rotation_001", "sigmas"}
    assert result.learned["sigmas"].tolist() == pytest.approx(sigma_schedule(4, 3.0)[:2])
    first, second = result.learned["rotation_000"], result.learned["rotation_001"]
    own = backbone.rotation()
    assert first.shape == own.shape == (4, 180, 12)
    for part in range(4):
        assert 0 < (first - own)[part].abs().max() <= 6 * 0.02 * 1.01  # Adam moves by the rate at most, six times
        assert 0 < (second - first)[part].abs().max() < (second - own)[part].abs().max()
    losses = [row["loss"] for row in result.trace if row["step"] == 0]
    assert losses[-1] < losses[0]
    assert not same(result, transfer(backbone, NoTransfer(), case))


def test_learned_embeddings_repeat_the_transfer_and_serve_another_prompt(
    backbone: WanBackbone, case: TransferCase, tmp_path: Path
) -> None:
    changes = ["target=embedding", "rope=true"]
    learned = transfer(backbone, method_of("ditflow", *changes), case)
    file = tmp_path / "learned.safetensors"
    write_tensors(file, learned.learned, "ditflow")
    method = method_of("ditflow", *changes, f"embeddings={file}")
    method.requirements(backbone.layout)
    again = transfer(backbone, method, case)
    assert same(again, learned)
    assert (again.passes.gradients, again.trace, again.learned) == (0, [], {})
    assert asdict(again.passes) == asdict(method.budget(backbone.layout, SAMPLER))
    other = replace(case, prompt="a red balloon on grass")
    assert not same(transfer(backbone, method, other), transfer(backbone, NoTransfer(), other))
    with pytest.warns(UserWarning, match="learned at noise levels"):
        transfer(backbone, method, case, shift=2.0)


def test_embeddings_that_do_not_fit_are_refused(backbone: WanBackbone, tmp_path: Path) -> None:
    def refused(message: str, *changes: str) -> None:
        with pytest.raises(ValueError, match=message):
            method_of("ditflow", *changes).requirements(backbone.layout)

    missing, foreign, broken, small = (tmp_path / name for name in ("missing", "foreign", "broken", "small"))
    write_tensors(foreign, {"x": torch.zeros(2)}, "ditflow")
    tables = {"rotation_000": torch.zeros(4, 7, 12), "sigmas": torch.ones(1)}
    write_tensors(small, tables, "ditflow")
    broken.write_bytes(b"not a safetensors file")
    others, unsealed = tmp_path / "others", tmp_path / "unsealed"
    write_tensors(others, tables, "smm")
    save_file(tables, unsealed)
    refused(r"method\.embeddings=.*missing does not exist", "target=embedding", f"embeddings={missing}")
    refused(r"holds no rotary tables of DiTFlow", "target=embedding", f"embeddings={foreign}")
    refused(r"holds no rotary tables of DiTFlow", "target=embedding", f"embeddings={broken}")
    refused(r"rotation_000 of shape \[4, 7, 12\].* give 180", "target=embedding", f"embeddings={small}")
    refused(r"others holds what is stored under the key smm, not ditflow", "target=embedding", f"embeddings={others}")
    refused(r"unsealed is damaged or of another program", "target=embedding", f"embeddings={unsealed}")
    refused(r"needs method\.target=embedding", f"embeddings={small}")
    refused(r"method\.inject=true replaces keys of block 0", "inject=true", "block=0")
    refused(r"set method\.rope=true or method\.block=1", "target=embedding", "block=0", "rope=false")


def test_a_run_writes_what_was_learned_and_what_was_declared(random_wan: Path, tmp_path: Path) -> None:
    cfg = composed(
        f"backbone.path={random_wan}",
        "backbone.height=48",
        "backbone.width=48",
        "sampler.steps=3",
        "method=ditflow",
        "method.target=embedding",
        "guidance.block=1",
        "guidance.fraction=0.34",
        "method.iterations=2",
        f"output_dir={tmp_path / 'out'}",
        "cache_dir=null",
        "logger=none",
        "metrics=none",
    )
    run(cfg)
    (record,) = json.loads((tmp_path / "out" / "result.json").read_text())["cases"]
    declared, measured = record["declared_passes"], record["passes"]
    assert measured["reference_forwards"] == 1
    assert measured["block_forwards"] - measured["reference_forwards"] == declared["block_forwards"] == 3 * 2 * 3 + 2
    assert (declared["gradients"], declared["block_backwards"]) == (2, 2)
    assert (measured["gradients"], measured["block_backwards"]) == (2, 2)
    folder = tmp_path / "out" / "cases" / record["id"]
    assert load_file(folder / "learned.safetensors")["rotation_000"].shape == (4, 180, 12)
