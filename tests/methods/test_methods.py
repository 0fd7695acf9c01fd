"""Whole transfers on the random Wan: what a method may change, costs, and stores."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.backbones.wan import WanBackbone
from fastvmt.cache import TensorCache, content_key
from fastvmt.files import write_tensors
from fastvmt.methods.base import Method
from fastvmt.methods.fastvmt import FastVMT
from fastvmt.methods.none import NoTransfer
from fastvmt.methods.sdedit import SDEdit
from fastvmt.methods.transfer import transfer_case, warn_unknown
from fastvmt.schedule import add_noise, seeded_noise, sigma_schedule
from fastvmt.settings import HeadReduce, Reduction, Window
from fastvmt.types import TransferCase, Video
from helpers.methods import GUIDANCE, WINDOW, fastvmt
from helpers.transfers import SAMPLER, job_for, same, transfer


def test_no_guided_step_is_no_transfer(backbone: WanBackbone, case: TransferCase) -> None:
    plain = transfer(backbone, NoTransfer(), case)
    off = transfer(backbone, fastvmt(fraction=0.0), case)
    assert same(off, plain)
    assert off.trace == plain.trace == []
    assert off.passes == plain.passes
    assert not same(transfer(backbone, fastvmt(), case), plain)


def test_sdedit_sees_the_reference_and_no_transfer_does_not(backbone: WanBackbone, case: TransferCase) -> None:
    plain = transfer(backbone, NoTransfer(), case)
    assert not same(transfer(backbone, SDEdit(), case, strength=0.6), plain)
    assert same(transfer(backbone, NoTransfer(), case, strength=0.6), plain)  # never sees the reference


@pytest.mark.parametrize("method", [SDEdit(), fastvmt()])
def test_below_full_strength_the_start_is_the_noised_reference(
    backbone: WanBackbone, case: TransferCase, method: Method
) -> None:
    job = job_for(backbone, case, sampler=replace(SAMPLER, strength=0.6))
    expected = job.reference + 3 * 0.6 / (1 + 2 * 0.6) * (job.noise - job.reference)
    torch.testing.assert_close(method.start(job), expected)
    assert torch.equal(method.start(job_for(backbone, case)), job.noise)


@pytest.mark.parametrize("window", [WINDOW, replace(WINDOW, l=0, sf=3)])
@pytest.mark.parametrize("rope", [False, True])
def test_the_reference_itself_has_no_motion_to_gain(
    backbone: WanBackbone, case: TransferCase, window: Window, rope: bool
) -> None:
    """Same latents, noise, level and text: the loss is zero, and its gradient moves nothing."""
    job = job_for(backbone, case)
    method = fastvmt(window, reference_noise=1.0, rope=rope)
    noise = seeded_noise(job.reference.shape, GUIDANCE.reference_seed, backbone.device)
    sigma = job.sigmas[1]
    noisy = add_noise(job.reference, noise, sigma)
    assert torch.equal(method.guide(job, 1, noisy, sigma), noisy)
    assert [row["loss"] for row in job.trace] == [0.0] * 5
    method.guide(job, 1, noisy + 0.1 * noise.flip(-1), sigma)
    assert job.trace[5]["loss"] > 0


@pytest.mark.parametrize("head_reduce", list(HeadReduce))
@pytest.mark.parametrize("window", [WINDOW, replace(WINDOW, l=0), replace(WINDOW, sf=1, centre_gradient=False)])
def test_guidance_lowers_the_motion_loss(
    backbone: WanBackbone, case: TransferCase, window: Window, head_reduce: HeadReduce
) -> None:
    trace = transfer(backbone, fastvmt(window, 1, head_reduce=head_reduce, iterations=8), case).trace
    assert {row["step"] for row in trace} == {0, 1}
    for step in (0, 1):
        losses = [row["loss"] for row in trace if row["step"] == step]
        assert len(losses) == 8
        assert 0 < losses[-1] < 0.95 * losses[0]


def test_amf_weight_scales_the_loss_and_window_weight_adds_to_it(backbone: WanBackbone, case: TransferCase) -> None:
    def first_loss(**weights: float) -> float:
        return transfer(backbone, fastvmt(**weights), case).trace[0]["loss"]

    amf, window = first_loss(amf_weight=1.0), first_loss(amf_weight=0.0, window_weight=1.0)
    assert amf > 0
    assert window > 0
    assert first_loss(amf_weight=5.0, window_weight=2.0) == pytest.approx(5 * amf + 2 * window, rel=1e-5)


def test_the_sum_over_tokens_weighs_the_motion_loss_alone(backbone: WanBackbone, case: TransferCase) -> None:
    """The reduction is a factor of one term, the tokens of a frame."""

    def first_loss(**settings: object) -> float:
        return transfer(backbone, fastvmt(**settings), case).trace[0]["loss"]

    tokens = math.prod(backbone.layout.grid[1:])
    amf, window = first_loss(), first_loss(amf_weight=0.0, window_weight=1.0)
    assert first_loss(window_weight=1.0, reduction=Reduction.sum) == pytest.approx(tokens * amf + window, rel=1e-5)


@pytest.mark.parametrize("delta", [1, 2, 3, 5])
@pytest.mark.parametrize("block", [0, 2])
def test_cost_has_a_closed_form(backbone: WanBackbone, case: TransferCase, delta: int, block: int) -> None:
    result = transfer(backbone, fastvmt(delta=delta, block=block), case)
    gradients = 2 * math.ceil(5 / delta)  # two guided steps
    assert result.passes.gradients == gradients
    assert result.passes.block_backwards == gradients * block
    # plain sampling with CFG, then q and k of every gradient and of the reference, whose level is capped: once
    assert result.passes.block_forwards == 2 * 4 * 3 + (gradients + 1) * block
    assert [row["reused"] for row in result.trace] == [float(i % delta != 0) for i in range(5)] * 2
    assert len(result.trace) == fastvmt(delta=delta, block=block).inner_iterations(4)


def test_one_negative_pass_is_saved_at_scale_one(backbone: WanBackbone, case: TransferCase) -> None:
    assert transfer(backbone, NoTransfer(), case, cfg_scale=1.0).passes.block_forwards == 4 * 3


def test_a_transfer_is_determined_by_its_seed(backbone: WanBackbone, case: TransferCase) -> None:
    first = transfer(backbone, fastvmt(), case)
    torch.manual_seed(99)
    second = transfer(backbone, fastvmt(), case)
    assert same(first, second)
    assert first.trace == second.trace
    assert not same(first, transfer(backbone, fastvmt(), replace(case, seed=4)))


def test_each_setting_reaches_the_result(backbone: WanBackbone, case: TransferCase) -> None:
    base = transfer(backbone, fastvmt(), case)
    changed = {
        "window.l": fastvmt(replace(WINDOW, l=5)),
        "window.sf": fastvmt(replace(WINDOW, sf=1)),
        "window.tile": fastvmt(replace(WINDOW, tile=[3, 3])),
        "window.tau": fastvmt(replace(WINDOW, tau=2.0)),
        "window.centre_gradient": fastvmt(replace(WINDOW, centre_gradient=False)),
        "skip.delta": fastvmt(delta=1),
        "guidance.lr": fastvmt(lr=0.03),
        "guidance.lr_end": fastvmt(lr_end=0.02),
        "guidance.block": fastvmt(block=2),
        "guidance.rope": fastvmt(rope=True),
        "guidance.head_reduce": fastvmt(head_reduce=HeadReduce.mean_qk),
        "guidance.alpha": fastvmt(alpha=0.9),
        "guidance.reference_noise": fastvmt(reference_noise=0.4),
        "guidance.reference_seed": fastvmt(reference_seed=1),
        "guidance.weight_decay": fastvmt(weight_decay=0.1),
    }
    assert [key for key, method in changed.items() if same(transfer(backbone, method, case), base)] == []


def test_result_says_how_it_was_made(backbone: WanBackbone, case: TransferCase) -> None:
    rows: list[dict[str, float]] = []
    steps: list[int] = []
    result = transfer_case(
        backbone, fastvmt(), SAMPLER, case, TensorCache(None), on_step=steps.append, on_iteration=rows.append
    )
    assert rows == result.trace
    assert steps == [0, 1, 2, 3]
    assert set(result.trace[0]) == {"step", "iteration", "sigma", "loss", "grad_norm", "reused"}
    assert set(result.trace[2]) == {*result.trace[0], "cosine"}
    assert [row["sigma"] for row in result.trace[::5]] == sigma_schedule(4, 3.0)[:2]
    stages = {"encode", "reference", "guide", "denoise", "decode"}
    assert set(result.seconds) == stages | {"total", "reference_kept"}
    assert result.seconds["total"] == pytest.approx(sum(result.seconds[stage] for stage in stages))
    assert result.video.size == (9, 48, 48)
    assert (result.video.fps, result.video.name, result.case) == (8.0, "case", case)


def test_stored_reference_gives_the_same_transfer(backbone: WanBackbone, case: TransferCase, tmp_path: Path) -> None:
    method = fastvmt(reference_noise=1.0)  # one level, hence one entry, per guided step
    without = transfer(backbone, method, case)
    first, second = TensorCache(tmp_path), TensorCache(tmp_path)
    assert same(transfer(backbone, method, case, first), without)
    assert (first.hits, first.misses) == (0, 2)
    cached = transfer(backbone, method, replace(case, prompt=case.prompt), second)
    assert same(cached, without)
    assert (second.hits, second.misses) == (2, 0)
    assert cached.passes.block_forwards == without.passes.block_forwards - 2 * GUIDANCE.block


def test_who_finds_the_reference_read_is_charged_what_that_took(
    backbone: WanBackbone, case: TransferCase, tmp_path: Path
) -> None:
    method = fastvmt(reference_noise=1.0)
    reading = transfer(backbone, method, case, TensorCache(tmp_path))
    took = [float(load_file(file)["_seconds"]) for file in tmp_path.glob("*.safetensors")]
    assert len(took) == 2 and 0 < sum(took) <= 1.5 * reading.seconds["reference"]  # of CPU, by a coarse clock
    assert reading.seconds["reference_kept"] == 0
    shared = TensorCache(tmp_path)
    for found in (transfer(backbone, method, case, shared), transfer(backbone, method, case, shared)):
        assert found.seconds["reference_kept"] == pytest.approx(sum(took))
    for file in tmp_path.glob("*.safetensors"):  # of a version that did not store them
        tensors = load_file(file)
        del tensors["_seconds"]
        write_tensors(file, tensors, file.stem)
    assert math.isnan(transfer(backbone, method, case, TensorCache(tmp_path)).seconds["reference_kept"])


def test_capped_reference_noise_needs_one_entry(backbone: WanBackbone, case: TransferCase, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    transfer(backbone, fastvmt(reference_noise=0.5), case, cache)
    assert (cache.hits, cache.misses) == (1, 1)


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage"])
def test_damaged_entries_are_computed_again(
    backbone: WanBackbone, case: TransferCase, tmp_path: Path, damage: str
) -> None:
    healthy = transfer(backbone, fastvmt(), case, TensorCache(tmp_path))
    (file,) = tmp_path.iterdir()
    data = file.read_bytes()
    file.write_bytes({"empty": b"", "cut": data[:-40], "garbage": b"\xff" * 200}[damage])
    cache = TensorCache(tmp_path)
    assert same(transfer(backbone, fastvmt(), case, cache), healthy)
    assert (cache.hits, cache.misses) == (1, 1)
    (again,) = tmp_path.iterdir()
    kept = [load(each) for each in (data, again.read_bytes())]
    assert kept[0].keys() == kept[1].keys()
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0] if name != "_seconds")


def test_entries_are_kept_apart_by_what_they_depend_on(
    backbone: WanBackbone, case: TransferCase, tmp_path: Path
) -> None:
    cache = TensorCache(tmp_path)
    mirrored = replace(case, reference=Video(case.reference.frames_THWC.flip(2), 8.0))
    variants = [
        (fastvmt(), case),
        (fastvmt(), mirrored),
        (fastvmt(block=2), case),
        (fastvmt(rope=True), case),
        (fastvmt(reference_seed=1), case),
        (fastvmt(reference_noise=0.4), case),
        (fastvmt(head_reduce=HeadReduce.mean_qk), case),
        (fastvmt(replace(WINDOW, sf=1)), case),
        (fastvmt(replace(WINDOW, tau=2.0)), case),
    ]
    for method, one in variants:
        transfer(backbone, method, one, cache)
    assert cache.misses == len(variants) == len(list(tmp_path.iterdir()))
    transfer(backbone, fastvmt(lr=0.5, iterations=2), replace(case, prompt="a red car", seed=8), cache)
    assert cache.misses == len(variants)  # the prompt, the seed and the optimiser do not matter


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_keys_follow_every_value(dtype: torch.dtype) -> None:
    x = torch.arange(6).to(dtype)
    assert content_key(a=x, b=1) == content_key(b=1, a=x.clone())
    assert (
        len({content_key(a=x, b=1), content_key(a=x, b=2), content_key(a=x.flip(0), b=1), content_key(c=x, b=1)}) == 4
    )


WAN = Layout("wan_1_3b", 81, 480, 832, 30, 4, 8, 16, (1, 2, 2), 12)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (fastvmt(block=30), r"guidance\.block=30 does not exist: wan_1_3b has blocks 0\.\.29"),
        (fastvmt(replace(WINDOW, sf=21)), r"window\.sf=21 must be below the 21 latent frames .* window\.sf to 1\.\.20"),
        (fastvmt(replace(WINDOW, tile=[31, 2])), r"window\.tile=\[31, 2\] is larger than the 30 x 52 tokens"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused(method: FastVMT, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method.requirements(WAN)


@pytest.mark.parametrize(("side", "told"), [(51, False), (53, True)])
def test_a_window_as_large_as_a_frame_is_told(side: int, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    fastvmt(replace(WINDOW, l=side)).requirements(WAN)
    assert ("window.l=53 covers all 30 x 52 tokens of a frame" in caplog.text) is told


def test_settings_at_the_limit_are_accepted(backbone: WanBackbone) -> None:
    fastvmt(replace(WINDOW, sf=20, tile=[30, 52]), delta=5, block=29).requirements(WAN)
    for method in (NoTransfer(), SDEdit(), fastvmt()):
        method.requirements(backbone.layout)


def test_guided_latents_stay_on_the_backbones_dtype(backbone: WanBackbone, case: TransferCase) -> None:
    latents: Tensor = transfer(backbone, fastvmt(), case).latents_BCFHW
    assert latents.dtype == torch.float32
    assert latents.shape == backbone.layout.latent_shape
    assert not latents.requires_grad


def test_a_model_without_a_list_of_words_names_what_it_does_not_know_and_no_more(
    backbone: WanBackbone, caplog: pytest.LogCaptureFixture
) -> None:
    assert backbone.vocabulary is None
    warn_unknown(backbone, "a giraffe on grass")
    assert caplog.messages == ["random_wan does not know giraffe in the prompt 'a giraffe on grass'"]
