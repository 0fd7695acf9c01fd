"""Whole transfers of the tuned methods on the random Wan: what they store, cost and leave behind."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
import torch

from fastvmt.backbones.layout import Layout
from fastvmt.backbones.wan import WanBackbone
from fastvmt.cache import TensorCache
from fastvmt.methods.none import NoTransfer
from fastvmt.methods.transfer import transfer_case
from fastvmt.schedule import add_noise, seeded_noise, sigma_schedule
from fastvmt.settings import Sampler
from fastvmt.trackers.base import Tracks
from fastvmt.trackers.dis import DisTracker
from fastvmt.types import PassCounter, TransferCase, Video
from helpers.methods import TUNED, TUNING, det, director, inversion_method, make
from helpers.transfers import SAMPLER, captioned_case, job_for, remains, same, transfer


@pytest.fixture(scope="session")
def case() -> TransferCase:
    return captioned_case()


@pytest.mark.parametrize("name", TUNED)
def test_a_reference_is_tuned_once(backbone: WanBackbone, case: TransferCase, tmp_path: Path, name: str) -> None:
    before = remains(backbone.transformer)
    first = transfer(backbone, make(name), case, TensorCache(tmp_path))
    assert first.passes.gradients >= 5
    assert len(first.trace) == make(name).inner_iterations(SAMPLER.steps) == 5
    assert set(first.seconds) == {"encode", "adapter", "tune", "denoise", "decode", "total"}
    assert [file.suffixes for file in tmp_path.glob("*.safetensors")] == [[".safetensors"]]  # no checkpoint is left
    again = transfer(backbone, make(name), case, TensorCache(tmp_path))
    assert same(first, again)
    other = transfer(
        backbone, make(name), replace(case, prompt="a frog on snow", seed=8, id="b"), TensorCache(tmp_path)
    )
    for result in (again, other):
        assert result.passes == PassCounter(block_forwards=2 * 4 * 3)
        assert "tune" not in result.seconds and result.trace == []
    assert not same(other, first)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert not same(first, transfer(backbone, NoTransfer(), case))
    assert remains(backbone.transformer) == before


@pytest.mark.parametrize("name", TUNED)
def test_every_input_of_the_tuning_is_in_its_key(
    backbone: WanBackbone, case: TransferCase, tmp_path: Path, name: str
) -> None:
    cache = TensorCache(tmp_path)
    shorter = replace(TUNING, iterations=1)
    own = {
        "motion_inversion": [{"blocks": [1]}, {"pool": 2}, {"debiased_loss": True}],
        "motion_director": [
            {"rank": 2},
            {"dropout": 0.5},
            {"skip_spatial": 0.9},
            {"feed_forward": True},
            {"noise_error": True},
        ],
        "det": [
            {"channels": 8},
            {"initial": "normal"},
            {"tracking_weight": 0.1},
            {"tracking_weight": 0.1, "tracking_sigma": 0.2},
            {"tracking_weight": 0.1, "points": 3},
        ],
    }
    mirrored = replace(case, reference=Video(case.reference.frames_THWC.flip(2), 8.0))
    variants = [
        (make(name, shorter), case),
        (make(name, shorter), mirrored),
        (make(name, shorter), replace(case, reference_prompt="a dog on sea")),
        *(
            (make(name, replace(shorter, **{key: value})), case)
            for key, value in {
                "lr": 0.03,
                "seed": 1,
                "weight_decay": 0.5,
                "clip": 0.1,
                "beta2": 0.9,
                "shift": 2.0,
                "iterations": 2,
            }.items()
        ),
        *((make(name, shorter, **settings), case) for settings in own[name]),
    ]
    for method, one in variants:
        transfer(backbone, method, one, cache, steps=1, cfg_scale=1.0)
    assert cache.misses == len(variants)
    often = make(name, replace(shorter, checkpoint_every=1))
    transfer(backbone, often, case, cache, steps=1, cfg_scale=1.0)
    assert cache.misses == len(variants)


def test_points_are_tracked_once_and_not_while_denoising(
    backbone: WanBackbone, case: TransferCase, tmp_path: Path
) -> None:
    class Slow(DisTracker):
        calls = 0

        def track(self, frames_THWC: torch.Tensor, queries_N3: torch.Tensor) -> Tracks:
            self.calls += 1
            time.sleep(0.5)
            return super().track(frames_THWC, queries_N3)

    method = det(tracking_weight=0.1)
    method.tracker = tracker = Slow(64)
    first = transfer(backbone, method, case, TensorCache(tmp_path))
    again = transfer(backbone, method, replace(case, id="b"), TensorCache(tmp_path))
    assert tracker.calls == 1
    assert first.seconds["tune"] >= 0.5 and "tune" not in again.seconds


@pytest.mark.parametrize("name", TUNED)
@pytest.mark.parametrize("cfg_scale", [1.0, 3.0])
def test_budget_is_what_is_measured(backbone: WanBackbone, case: TransferCase, name: str, cfg_scale: float) -> None:
    for settings in {
        "motion_inversion": [{"blocks": [0]}, {"blocks": [2, 1], "share": 0.5, "debiased_loss": True}],
        "motion_director": [{"skip_spatial": 0.0}, {"skip_spatial": 0.5, "share": 0.5}, {"skip_spatial": 1.0}],
        "det": [{}, {"tracking_weight": 0.1}],
    }[name]:
        method = make(name, **settings)
        result = transfer(backbone, method, case, cfg_scale=cfg_scale)
        assert result.passes == method.budget(backbone.layout, replace(SAMPLER, cfg_scale=cfg_scale)), settings


def test_passes_over_images_are_told_apart(backbone: WanBackbone, case: TransferCase) -> None:
    method = director()
    passes = transfer(backbone, method, case).passes
    images = sum(not method.skips(choices) for choices in TUNING.draws())
    assert 0 < images < TUNING.iterations
    assert passes.image_forwards == passes.image_backwards == 3 * images
    assert transfer(backbone, det(), case).passes.image_forwards == 0


def test_budgets_of_wan_by_hand() -> None:
    wan = Layout("wan_1_3b", 81, 480, 832, 30, 4, 8, 16, (1, 2, 2), 12)
    sampling = 2 * 50 * 30
    assert inversion_method(replace(TUNING, iterations=400), blocks=[12, 14, 16]).budget(wan, Sampler()) == PassCounter(
        400 * 30 + sampling, 400 * 18, 400
    )
    assert det(replace(TUNING, iterations=500)).budget(wan, Sampler()) == PassCounter(
        500 * 30 + sampling, 500 * 30, 500
    )
    both = director(replace(TUNING, iterations=300), skip_spatial=0.0, share=0.5).budget(wan, Sampler())
    assert both == PassCounter(600 * 30 + 4 * 30 + sampling, 600 * 30, 600, 0, 300 * 30, 300 * 30)


@pytest.mark.parametrize("name", TUNED)
def test_tuning_lowers_the_error_on_the_reference(backbone: WanBackbone, case: TransferCase, name: str) -> None:
    """Judged with the whole adapter at noise that the tuning never saw."""
    job, text = job_for(backbone, case), backbone.embed(case.reference_prompt)
    settings = {"value": "whole"} if name == "motion_inversion" else {}
    method = make(name, replace(TUNING, iterations=60), **settings)

    @torch.no_grad()
    def error() -> float:
        total = 0.0
        for seed, sigma in enumerate((0.3, 0.6, 0.9)):
            noise = seeded_noise(backbone.layout.latent_shape, 900 + seed, backbone.device)
            velocity = backbone.velocity(add_noise(job.reference, noise, sigma), sigma, text)
            total += float((velocity - noise + job.reference).square().mean())
        return total

    before = error()
    with torch.no_grad(), method.prepared(job):
        assert error() < 0.9 * before
    assert error() == before


@pytest.mark.parametrize("name", TUNED)
def test_a_stopped_case_goes_on_and_leaves_nothing(
    backbone: WanBackbone, case: TransferCase, tmp_path: Path, name: str
) -> None:
    whole = transfer(backbone, make(name), case)
    before = remains(backbone.transformer)

    def stop(row: dict[str, float]) -> None:
        if row["iteration"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer_case(backbone, make(name), SAMPLER, case, TensorCache(tmp_path), on_iteration=stop)
    assert remains(backbone.transformer) == before
    assert [file.name.endswith(".checkpoint.safetensors") for file in tmp_path.glob("*.safetensors")] == [True]
    resumed = transfer(backbone, make(name), case, TensorCache(tmp_path))
    assert same(resumed, whole)
    assert [row["iteration"] for row in resumed.trace] == [2, 3, 4]
    assert not list(tmp_path.glob("*checkpoint*"))


def test_two_that_want_the_same_parameters_tune_once(backbone: WanBackbone, case: TransferCase, tmp_path: Path) -> None:
    """With a cache each on one folder, as processes have them; the second comes while the first is tuning."""
    began, tuned_too = Event(), Event()
    first, second = (job_for(backbone, case, cache=TensorCache(tmp_path)) for _ in range(2))
    first.on_iteration = lambda _: (began.set(), tuned_too.wait(0.1))  # time in which the second must not begin
    second.on_iteration = lambda _: tuned_too.set()
    with ThreadPoolExecutor(2) as pool:
        tuning = pool.submit(inversion_method().tuned, first)
        assert began.wait(60)
        waiting = pool.submit(inversion_method().tuned, second)
        a, b = tuning.result(), waiting.result()
    assert (len(first.trace), len(second.trace)) == (5, 0)
    assert (first.cache.misses, second.cache.misses, second.cache.hits) == (1, 0, 1)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert backbone.passes.gradients == 5


@pytest.mark.parametrize("name", TUNED)
def test_an_error_while_denoising_leaves_nothing(backbone: WanBackbone, case: TransferCase, name: str) -> None:
    before, method = remains(backbone.transformer), make(name)

    def fail(step: int) -> None:
        assert remains(backbone.transformer) != before
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        transfer_case(backbone, method, SAMPLER, case, TensorCache(None), on_step=fail)
    assert remains(backbone.transformer) == before


@pytest.mark.parametrize("factory", [inversion_method, director])
def test_inversion_blends_into_the_start(backbone: WanBackbone, case: TransferCase, factory, tmp_path: Path) -> None:
    cache, method = TensorCache(tmp_path), factory(share=0.5)
    job = job_for(backbone, case, cache=cache)
    text, x = backbone.embed(case.reference_prompt), job.reference
    levels = sigma_schedule(4, 3.0)[::-1]
    with torch.no_grad():
        for low, high in zip(levels[:-1], levels[1:], strict=True):
            x = x + (high - low) * backbone.velocity(x, low, text)  # without adapters
        torch.testing.assert_close(method.start(job), (x + job.noise) / 2**0.5)
    assert cache.misses == 1  # the adapters are not there yet


@pytest.mark.parametrize("name", TUNED)
def test_a_method_keeps_nothing_of_a_case(backbone: WanBackbone, case: TransferCase, name: str) -> None:
    """The same object serves one case after another as a fresh one would."""
    settings = {} if name == "det" else {"share": 0.5}
    method, other = make(name, **settings), replace(case, reference_prompt="a frog on snow", seed=8)
    before = dict(vars(method))
    transfer(backbone, method, other)
    assert vars(method) == before
    assert same(transfer(backbone, method, case), transfer(backbone, make(name, **settings), case))
