"""The baselines as methods: what each setting does, what they refuse, and how they take part in a run."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.backbones.wan import WanBackbone
from fastvmt.cache import TensorCache
from fastvmt.case import run_case
from fastvmt.config import config_folder
from fastvmt.engine.plan import construct
from fastvmt.engine.run import run
from fastvmt.methods.base import Job, Method
from fastvmt.methods.guided import Guided
from fastvmt.methods.none import NoTransfer
from fastvmt.methods.smm import low_frequencies, noised_again
from fastvmt.sampling import add_noise, guided_velocity, seeded_noise, sigma_schedule
from fastvmt.settings import Sampler
from fastvmt.stopwatch import Stopwatch
from fastvmt.types import TransferCase, TransferResult, Video
from fastvmt.world.scene import render, sample_scene

SAMPLER = Sampler(steps=4, cfg_scale=3.0)
OPTIMISED = ["ditflow", "moft", "smm", "flowmotion"]


@pytest.fixture(scope="session")
def case() -> TransferCase:
    clip = render(sample_scene(np.random.default_rng(4), 9, "single_object"), 48)
    return TransferCase("case", Video(torch.from_numpy(clip.frames_THWC), 8.0), "a dog on grass", seed=3)


def method_of(option: str, *changes: str) -> Method:
    """The method of a yaml, reading block 1 in half of the steps."""
    half = [] if option == "motionclone" else ["method.iterations=3"]
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        cfg = compose(
            "config",
            overrides=[
                f"method={option}", "guidance.block=1", "method.fraction=0.5", *half, "output_dir=unused",
                *(f"method.{change}" for change in changes),
            ],
        )  # fmt: skip
    method = construct(cfg.method, "method")
    assert isinstance(method, Method)
    return method


def transfer(backbone: WanBackbone, method: Method, case: TransferCase, **sampler: float) -> TransferResult:
    return run_case(backbone, method, replace(SAMPLER, **sampler), case, TensorCache(None))


def same(a: TransferResult, b: TransferResult) -> bool:
    return torch.equal(a.latents_BCFHW, b.latents_BCFHW)


def job_for(backbone: WanBackbone, case: TransferCase, strength: float = 1.0) -> Job:
    """The case with the empty prompt, so that the reference and the generated video are read alike."""
    null, noise = backbone.embed(""), seeded_noise(backbone.layout.latent_shape, 0, backbone.device)
    return Job(
        backbone, backbone.encode(case.reference), null, null, null, replace(SAMPLER, strength=strength),
        sigma_schedule(4, 3.0, strength), Stopwatch(backbone.device), TensorCache(None), noise=noise,
    )  # fmt: skip


@pytest.mark.parametrize("option", [*OPTIMISED, "motionclone"])
def test_no_guided_step_is_no_transfer(backbone: WanBackbone, case: TransferCase, option: str) -> None:
    off = transfer(backbone, method_of(option, "fraction=0.0"), case)
    assert same(off, transfer(backbone, NoTransfer(), case))
    assert off.trace == []


@pytest.mark.parametrize("option", ["ditflow", "moft", "smm"])
@pytest.mark.parametrize("lr", [0.02])
def test_guidance_lowers_its_own_loss(backbone: WanBackbone, case: TransferCase, option: str, lr: float) -> None:
    method = method_of(option, "iterations=8", f"lr={lr}", f"lr_end={lr}")
    trace = transfer(backbone, method, case).trace
    for step in (0, 1):
        losses = [row["loss"] for row in trace if row["step"] == step]
        assert len(losses) == 8
        assert 0 < losses[-1] < 0.98 * losses[0]


def test_learning_rate_falls_from_step_to_step_only(backbone: WanBackbone, case: TransferCase) -> None:
    """Adam's first step moves every entry with a gradient by the rate."""
    job, method = job_for(backbone, case), method_of("smm", "iterations=1", "lr=0.02", "lr_end=0.01")
    x = seeded_noise(job.reference.shape, 1, backbone.device)
    for step, rate in enumerate([0.02, 0.015]):
        moved = (method.before_step(job, step, x, job.sigmas[step]) - x).abs()
        assert float(moved.median()) == pytest.approx(rate, rel=1e-2)
    assert method.before_step(job, 2, x, job.sigmas[2]) is x


@pytest.mark.parametrize(
    ("option", "changes"),
    [
        ("ditflow", ["displacement=expectation"]),
        ("moft", ["reference_noise=1.0"]),
        ("smm", ["ref=matched"]),
        ("moft", ["share=1.0", "reference_noise=1.0"]),
    ],
)
def test_the_reference_itself_has_no_loss(
    backbone: WanBackbone, case: TransferCase, option: str, changes: list[str]
) -> None:
    """Same latents, noise, level and text."""
    job, method = job_for(backbone, case), method_of(option, *changes)
    sigma = 0.0 if option == "ditflow" else job.sigmas[1]
    seed = getattr(method, "reference_seed", 0)
    noisy = job.noised_reference(sigma, seed)
    loss = method.objective(job, 1, noisy, sigma)
    assert float(loss(noisy)) == pytest.approx(0, abs=1e-6)
    assert float(loss(noisy + 0.3 * noisy.flip(-1))) > 1e-5


def test_flowmotion_of_the_reference_itself(backbone: WanBackbone, case: TransferCase) -> None:
    """At the first step with the null text the predicted clean latents are the same."""
    job, method = job_for(backbone, case), method_of("flowmotion")
    job.sampler = replace(job.sampler, cfg_scale=1.0)
    noisy = job.noised_reference(job.sigmas[0], method.reference_seed)
    assert torch.equal(method.before_step(job, 0, noisy, job.sigmas[0]), noisy)
    assert [row["loss"] for row in job.trace] == [0, 0, 0]
    assert backbone.passes.gradients == 0


def test_flowmotion_by_a_plain_loop(backbone: WanBackbone, case: TransferCase) -> None:
    """The second guided step against autograd of the written-out loss with a constant velocity."""
    job, method = job_for(backbone, case), method_of("flowmotion", "representation=clean_latent", "iterations=2")
    job.text = backbone.embed("a dog on grass")
    sigma, x = job.sigmas[1], seeded_noise(job.reference.shape, 5, backbone.device)
    mean = (x - job.noise) / (sigma - job.sigmas[0])
    leaf = x.clone().requires_grad_(True)
    adam = torch.optim.Adam([leaf], lr=method.lr)
    for _ in range(2):
        with torch.no_grad():
            v = guided_velocity(backbone, leaf, sigma, job.text, job.negative, 3.0)
            parallel = (v * mean).sum(1, keepdim=True) / (mean * mean).sum(1, keepdim=True) * mean
            v = parallel + 0.1 * (v - parallel)
        clean, frames = leaf - sigma * v, range(5)
        dif = [(clean[:, :, f + 1] - clean[:, :, f]).abs() for f in range(4)]
        dif += [(clean[:, :, c] - clean[:, :, f]).abs() for c in frames for f in frames if f != c]
        y = job.reference
        ref = [(y[:, :, f + 1] - y[:, :, f]).abs() for f in range(4)]
        ref += [(y[:, :, c] - y[:, :, f]).abs() for c in frames for f in frames if f != c]
        loss = 20 * (y - clean).square().mean() + 5 * (torch.stack(dif) - torch.stack(ref)).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    torch.testing.assert_close(method.before_step(job, 1, x, sigma), leaf.detach(), rtol=1e-4, atol=1e-4)


def test_flowmotion_reads_the_reference_by_one_pass(backbone: WanBackbone, case: TransferCase) -> None:
    job, method = job_for(backbone, case), method_of("flowmotion")
    found = method.reference_latents(job, 1, job.sigmas[1])
    noisy = add_noise(job.reference, seeded_noise(job.reference.shape, method.reference_seed + 1, "cpu"), job.sigmas[1])
    expected = noisy - job.sigmas[1] * backbone.velocity(noisy, job.sigmas[1], job.null_text)
    torch.testing.assert_close(found, expected)
    assert backbone.passes.reference_forwards == 3


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_motionclone_is_euler_less_a_gradient(backbone: WanBackbone, case: TransferCase, scale: float) -> None:
    """x' = Euler(x) - weight ramp sigma sigma' g, with g from a separate partial pass and explicit softmaxes."""
    job = job_for(backbone, case)
    job.text, job.sampler = backbone.embed("a dog on grass"), replace(job.sampler, cfg_scale=scale)
    method = method_of("motionclone", "weight=50.0", "ramp_share=0.5", "fraction=1.0", "rope=true")
    sigma, following = job.sigmas[0], job.sigmas[1]
    x = seeded_noise(job.reference.shape, 2, backbone.device)

    def probability(latents: Tensor, level: float, text: Tensor) -> Tensor:
        q, k = backbone.query_key(latents, level, text, 1, True)
        return torch.stack([(q[i] * k).sum(-1).div(24**0.5).softmax(0) for i in range(5)])  # i, j, s, n

    value, index = probability(job.noised_reference(0.6, method.reference_seed), 0.6, job.null_text).max(1)
    leaf = x.clone().requires_grad_(True)
    chosen = probability(leaf, sigma, job.text).gather(1, index[:, None])[:, 0]
    (gradient,) = torch.autograd.grad((chosen - value).square().mean(), leaf)
    plain = guided_velocity(backbone, x, sigma, job.text, job.negative, scale)
    moved = x + (following - sigma) * method.velocity(job, 0, x, sigma)
    expected = x + (following - sigma) * plain - 50.0 * 0.5 * sigma * following * gradient  # ramp: first of two
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=1e-5)
    (row,) = job.trace
    own = torch.arange(5)[:, None, None]
    assert row["self_hits"] == pytest.approx(float((index == own).float().mean()))
    step = (following - sigma) * plain
    ratio = float(25.0 * sigma * following * gradient.norm() / step.norm())
    assert row["move_ratio"] == pytest.approx(ratio, rel=1e-3)
    assert ratio > 1e-6


def test_motionclone_without_weight_is_no_transfer(backbone: WanBackbone, case: TransferCase) -> None:
    off = transfer(backbone, method_of("motionclone", "weight=0.0"), case)
    torch.testing.assert_close(off.latents_BCFHW, transfer(backbone, NoTransfer(), case).latents_BCFHW)


def test_smm_starts_from_low_frequencies_of_the_reference(backbone: WanBackbone, case: TransferCase) -> None:
    job, method = job_for(backbone, case, 0.6), method_of("smm", "init=highfreq")
    start = method.start(job, job.noise)
    noisy = job.noised_reference(job.sigmas[0], method.reference_seed)
    torch.testing.assert_close(start - low_frequencies(noisy), job.noise - low_frequencies(job.noise))
    plain = method_of("smm").start(job, job.noise)
    torch.testing.assert_close(plain, add_noise(job.reference, job.noise, job.sigmas[0]))


def test_noising_again_gives_the_level_its_shares() -> None:
    """Of independent clean latents, noise and fresh noise: (1 - s) of the first, s of the others together."""
    clean, noise, fresh = torch.eye(3)
    for sigma, higher in ((0.0, 0.3), (0.4, 0.5), (0.7, 0.95), (0.6, 1.0)):
        a, b, c = noised_again((1 - sigma) * clean + sigma * noise, fresh, sigma, higher).tolist()
        assert a == pytest.approx(1 - higher, abs=1e-6)
        assert b**2 + c**2 == pytest.approx(higher**2, rel=1e-5)
    assert torch.equal(noised_again(clean, fresh, 0.5, 0.5), clean)


def test_restart_repeats_every_step_but_the_first(backbone: WanBackbone, case: TransferCase) -> None:
    """An unguided transfer against the written-out loop; the passes are those declared."""
    method = method_of("smm", "restart=true", "fraction=0.0")
    result, levels = transfer(backbone, method, case), sigma_schedule(4, 3.0)
    text, negative = backbone.embed(case.prompt), backbone.embed("")
    assert result.passes == method.budget(backbone.layout, 4, 3.0)
    assert result.passes.block_forwards == (4 + 3) * 2 * 3
    x = seeded_noise(backbone.layout.latent_shape, case.seed, backbone.device)
    with torch.no_grad():
        for step, (s, t) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
            x = x + (t - s) * guided_velocity(backbone, x, s, text, negative, 3.0)
            if step:
                fresh = seeded_noise(tuple(x.shape), case.seed + 1_000_003 * step, backbone.device)
                x = noised_again(x, fresh, t, s)
                x = x + (t - s) * guided_velocity(backbone, x, s, text, negative, 3.0)
    torch.testing.assert_close(result.latents_BCFHW, x, rtol=1e-4, atol=1e-4)


def test_injection_denoises_with_the_references_keys(backbone: WanBackbone, case: TransferCase) -> None:
    job, method = job_for(backbone, case), method_of("ditflow", "inject=true")
    sigma, x = job.sigmas[1], seeded_noise(job.reference.shape, 2, backbone.device)
    with backbone.keys_and_values_of(add_noise(job.reference, job.noise, sigma), sigma, job.text):
        expected = guided_velocity(backbone, x, sigma, job.text, job.negative, 3.0)
    plain = guided_velocity(backbone, x, sigma, job.text, job.negative, 3.0)
    torch.testing.assert_close(method.velocity(job, 1, x, sigma), expected)
    torch.testing.assert_close(method.velocity(job, 2, x, sigma), plain)  # no longer guided
    assert (expected - plain).abs().max() > 1e-4
    moved, without = (
        one.before_step(job_for(backbone, case), 0, x, 1.0) for one in (method, method_of("ditflow"))
    )  # in the optimisation, too
    assert not torch.equal(moved, without)


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
    save_file(learned.learned, file)
    method = method_of("ditflow", *changes, f"embeddings={file}")
    method.requirements(backbone.layout)
    again = transfer(backbone, method, case)
    assert same(again, learned)
    assert (again.passes.gradients, again.trace, again.learned) == (0, [], {})
    assert asdict(again.passes) == asdict(method.budget(backbone.layout, 4, 3.0))
    other = replace(case, prompt="a red balloon on grass")
    assert not same(transfer(backbone, method, other), transfer(backbone, NoTransfer(), other))
    with pytest.warns(UserWarning, match="learned at noise levels"):
        transfer(backbone, method, case, shift=2.0)


WAN = Layout("wan_1_3b", 81, 480, 832, 30, 4, 8, 16, (1, 2, 2), 12)


@pytest.mark.parametrize("option", ["ditflow", "moft", "smm", "motionclone"])
def test_a_block_that_does_not_exist_is_refused(option: str) -> None:
    method_of(option, "block=29").requirements(WAN)
    with pytest.raises(ValueError, match=r"method\.block=30 does not exist: wan_1_3b has blocks 0\.\.29.*guidance\.bl"):
        method_of(option, "block=30").requirements(WAN)


@pytest.mark.parametrize("option", [*OPTIMISED, "motionclone"])
def test_a_single_latent_frame_is_refused(option: str) -> None:
    pairs_of_frames = replace(WAN, frames=5, patch=(2, 2, 2))
    with pytest.raises(ValueError, match=r"backbone\.frames=5 gives 1 latent frame.*set backbone\.frames=13 or more"):
        method_of(option).requirements(pairs_of_frames)
    method_of(option).requirements(replace(WAN, frames=13, patch=(2, 2, 2)))


def test_embeddings_that_do_not_fit_are_refused(backbone: WanBackbone, tmp_path: Path) -> None:
    def refused(message: str, *changes: str) -> None:
        with pytest.raises(ValueError, match=message):
            method_of("ditflow", *changes).requirements(backbone.layout)

    missing, foreign, broken, small = (tmp_path / name for name in ("missing", "foreign", "broken", "small"))
    save_file({"x": torch.zeros(2)}, foreign)
    save_file({"rotation_000": torch.zeros(4, 7, 12), "sigmas": torch.ones(1)}, small)
    broken.write_bytes(b"not a safetensors file")
    refused(r"method\.embeddings=.*missing does not exist", "target=embedding", f"embeddings={missing}")
    refused(r"holds no rotary tables of DiTFlow", "target=embedding", f"embeddings={foreign}")
    refused(r"holds no rotary tables of DiTFlow", "target=embedding", f"embeddings={broken}")
    refused(r"is for 7 tokens, but .* give 180", "target=embedding", f"embeddings={small}")
    refused(r"needs method\.target=embedding", f"embeddings={small}")
    refused(r"method\.inject=true replaces keys of block 0", "inject=true", "block=0")
    refused(r"set method\.rope=true or method\.block=1", "target=embedding", "block=0", "rope=false")


@pytest.mark.parametrize(
    ("option", "change"),
    [
        ("ditflow", "target=weights"), ("ditflow", "displacement=mean"), ("ditflow", "temperature=0"),
        ("ditflow", "lr=0"), ("ditflow", "lr_end=-1"), ("ditflow", "iterations=0"), ("ditflow", "block=-1"),
        ("moft", "share=0"), ("moft", "share=1.5"), ("moft", "reference_noise=2"), ("smm", "ref=noisy"),
        ("smm", "init=zero"), ("smm", "fraction=1.1"), ("motionclone", "weight=-1"), ("motionclone", "ramp_share=0.6"),
        ("motionclone", "fraction=-0.1"), ("motionclone", "block=-1"), ("motionclone", "reference_noise=-1"),
        ("flowmotion", "representation=noisy"), ("flowmotion", "across=2"), ("flowmotion", "weight=-1"),
        ("flowmotion", "difference_weight=-1"),
    ],
)  # fmt: skip
def test_values_out_of_range_name_their_key(option: str, change: str) -> None:
    key = change.split("=")[0]
    with pytest.raises(Exception, match=rf"method\.{key}=.* is out of range.*Set it with method\.{key}=<value>"):
        method_of(option, change)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("ditflow", {"iterations": 5, "lr": 0.002, "lr_end": 0.001, "temperature": 2.0, "rope": True, "block": 14}),
        ("moft", {"iterations": 5, "lr": 0.002, "lr_end": 0.001, "share": 0.04, "block": 14}),
        ("smm", {"iterations": 10, "lr": 0.007, "lr_end": 0.004, "block": 14}),
        ("flowmotion", {"iterations": 3, "lr": 0.003, "lr_end": 0.003, "weight": 20.0, "across": 0.1}),
        ("motionclone", {"reference_noise": 0.6, "weight": 2000.0, "block": 14}),
        ("motion_inversion", {"tuning.iterations": 400, "tuning.lr": 0.02, "tuning.shift": 7.0}),
        ("motion_director", {"tuning.iterations": 300, "tuning.lr": 5e-4, "rank": 32, "skip_spatial": 0.2}),
        ("det", {"tuning.iterations": 500, "tuning.lr": 1e-5, "tuning.clip": 1.0, "initial": "normal"}),
    ],
)
@pytest.mark.parametrize("model", ["wan_1_3b", "wan_14b"])
def test_numbers_of_wan_are_the_papers(option: str, expected: dict[str, float], model: str) -> None:
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        cfg = compose("config", overrides=[f"method={option}", f"backbone={model}", "output_dir=unused"])
    assert {key: OmegaConf.select(cfg.method, key) for key in expected} == expected
    method = construct(cfg.method, "method")
    assert not isinstance(method, Guided) or method.guided(50) == 10
    if option == "motion_inversion":
        assert method.blocks == ([12, 14, 16] if model == "wan_1_3b" else [16, 19, 21])


@pytest.mark.parametrize("model", ["wan_1_3b", "wan_14b"])
def test_no_method_takes_numbers_of_tiny_wan_to_wan(model: str) -> None:
    """A rate or weight in a method's file is tiny-wan's; Wan must say its own."""
    folder = config_folder() / "method"
    own = [f.stem for f in folder.glob("*.yaml") if re.search(r"^ *(lr|weight): [\d.]", f.read_text(), re.MULTILINE)]
    assert {"ditflow", "motionclone", "motion_inversion", "motion_director", "det"} <= set(own)
    assert [name for name in own if not (folder / "preset" / f"{name}_{model}.yaml").is_file()] == []


def test_a_run_writes_what_was_learned_and_what_was_declared(random_wan: Path, tmp_path: Path) -> None:
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        cfg = compose(
            "config",
            overrides=[
                f"backbone.path={random_wan}", "backbone.height=48", "backbone.width=48", "sampler.steps=3",
                "method=ditflow", "method.target=embedding", "guidance.block=1", "guidance.fraction=0.34",
                "method.iterations=2", f"output_dir={tmp_path / 'out'}", "cache_dir=null", "logger=none",
                "metrics=none",
            ],
        )  # fmt: skip
    run(cfg)
    (record,) = json.loads((tmp_path / "out" / "result.json").read_text())["cases"]
    declared, measured = record["declared_passes"], record["passes"]
    assert measured["reference_forwards"] == 1
    assert measured["block_forwards"] - measured["reference_forwards"] == declared["block_forwards"] == 3 * 2 * 3 + 2
    assert (declared["gradients"], declared["block_backwards"]) == (2, 2)
    assert (measured["gradients"], measured["block_backwards"]) == (2, 2)
    folder = tmp_path / "out" / "cases" / record["id"]
    assert load_file(folder / "learned.safetensors")["rotation_000"].shape == (4, 180, 12)


def test_columns_that_a_method_adds_are_in_the_trace(random_wan: Path, tmp_path: Path) -> None:
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        cfg = compose(
            "config",
            overrides=[
                f"backbone.path={random_wan}", "backbone.height=48", "backbone.width=48", "sampler.steps=3",
                "method=motionclone", "guidance.block=1", "guidance.fraction=0.3", f"output_dir={tmp_path / 'out'}",
                "cache_dir=null", "logger=none", "metrics=none",
            ],
        )  # fmt: skip
    run(cfg)
    (file,) = (tmp_path / "out").glob("cases/*/trace.csv")
    (row,) = csv.DictReader(file.open())
    assert 0 <= float(row["self_hits"]) <= 1
    assert float(row["move_ratio"]) > 0
