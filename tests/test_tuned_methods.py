"""Whole transfers of the tuned methods on the random Wan: what they store, cost, leave behind and refuse."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from torch import Tensor, nn

from fastvmt.backbones.layout import Layout
from fastvmt.backbones.wan import WanBackbone
from fastvmt.cache import TensorCache
from fastvmt.case import run_case
from fastvmt.config import config_folder
from fastvmt.engine.plan import UserError, make_plan
from fastvmt.engine.run import run
from fastvmt.methods.base import Job, Method
from fastvmt.methods.det import DeT, grid_queries, mask_queries
from fastvmt.methods.motion_director import SPATIAL, TEMPORAL, MotionDirector
from fastvmt.methods.motion_inversion import MotionInversion
from fastvmt.methods.none import NoTransfer
from fastvmt.methods.tuned import Tuned
from fastvmt.sampling import add_noise, seeded_noise, sigma_schedule
from fastvmt.settings import Sampler
from fastvmt.stopwatch import Stopwatch
from fastvmt.trackers.dis import DisTracker
from fastvmt.tuning.adapter import blocks_of
from fastvmt.tuning.draw import Draw
from fastvmt.tuning.inversion import Inversion
from fastvmt.tuning.loop import Tuning, tune
from fastvmt.types import PassCounter, TransferCase, TransferResult, Video
from fastvmt.world.scene import render, sample_scene

SAMPLER = Sampler(steps=3, cfg_scale=3.0)
TUNING = Tuning(iterations=5, lr=0.02, shift=3.0, checkpoint_every=2)
METHODS = ("motion_inversion", "motion_director", "det")


@pytest.fixture(scope="session")
def case() -> TransferCase:
    clip = render(sample_scene(np.random.default_rng(4), 9, "single_object"), 48)
    video = Video(torch.from_numpy(clip.frames_THWC), 8.0)
    return TransferCase("case", video, "a dog on grass", seed=3, reference_prompt="a red car on sand")


def inversion_method(tuning: Tuning = TUNING, share: float = 0.0, **settings: object) -> MotionInversion:
    return MotionInversion(tuning, Inversion(share, 4), **({"blocks": [1, 2]} | settings))


def director(tuning: Tuning = TUNING, share: float = 0.0, **settings: object) -> MotionDirector:
    return MotionDirector(tuning, Inversion(share, 4), **({"rank": 4, "skip_spatial": 0.5} | settings))


def det(tuning: Tuning = TUNING, **settings: object) -> DeT:
    return DeT(tuning, DisTracker(64), **({"channels": 16, "initial": "kaiming", "points": 4} | settings))


def make(name: str, tuning: Tuning = TUNING, **settings: object) -> Tuned:
    return {"motion_inversion": inversion_method, "motion_director": director, "det": det}[name](tuning, **settings)


def transfer(
    backbone: WanBackbone, method: Method, case: TransferCase, cache: TensorCache | None = None, **sampler: float
) -> TransferResult:
    return run_case(backbone, method, replace(SAMPLER, **sampler), case, cache or TensorCache(None))


def same(a: TransferResult, b: TransferResult) -> bool:
    return torch.equal(a.latents_BCFHW, b.latents_BCFHW)


def job_for(backbone: WanBackbone, case: TransferCase | None) -> Job:
    null = backbone.embed("")
    reference = torch.zeros(backbone.layout.latent_shape) if case is None else backbone.encode(case.reference)
    return Job(
        backbone, reference, null, null, null, SAMPLER, sigma_schedule(3, 3.0), Stopwatch(backbone.device),
        TensorCache(None), case=case,
    )  # fmt: skip


def remains(backbone: WanBackbone) -> list[tuple[object, ...]]:
    """What a transfer could leave in the transformer."""
    found: list[tuple[object, ...]] = [
        (name, id(module), module.training, len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in backbone.transformer.named_modules()
    ]
    weights = backbone.transformer.named_parameters()
    return found + [(name, id(p), p._version, p.requires_grad, p.grad is None) for name, p in weights]


@pytest.mark.parametrize("name", METHODS)
def test_a_reference_is_tuned_once(backbone: WanBackbone, case: TransferCase, tmp_path: Path, name: str) -> None:
    before = remains(backbone)
    first = transfer(backbone, make(name), case, TensorCache(tmp_path))
    assert first.passes.gradients >= 5
    assert len(first.trace) == make(name).inner_iterations(SAMPLER.steps) == 5
    assert set(first.seconds) == {"encode", "tune", "denoise", "decode", "total"}
    assert [file.suffixes for file in tmp_path.glob("*.safetensors")] == [[".safetensors"]]  # no checkpoint is left
    again = transfer(backbone, make(name), case, TensorCache(tmp_path))
    assert same(first, again)
    other = transfer(
        backbone, make(name), replace(case, prompt="a frog on snow", seed=8, id="b"), TensorCache(tmp_path)
    )
    for result in (again, other):
        assert result.passes == PassCounter(block_forwards=2 * 3 * 3)
        assert "tune" not in result.seconds and result.trace == []
    assert not same(other, first)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert not same(first, transfer(backbone, NoTransfer(), case))
    assert remains(backbone) == before


@pytest.mark.parametrize("name", METHODS)
def test_every_input_of_the_tuning_is_in_its_key(
    backbone: WanBackbone, case: TransferCase, tmp_path: Path, name: str
) -> None:
    cache = TensorCache(tmp_path)
    shorter = replace(TUNING, iterations=1)
    own = {
        "motion_inversion": [{"blocks": [1]}, {"pool": 2}, {"debiased_loss": True}],
        "motion_director": [
            {"rank": 2}, {"dropout": 0.5}, {"skip_spatial": 0.9}, {"feed_forward": True}, {"noise_error": True},
        ],
        "det": [{"channels": 8}, {"initial": "normal"}, {"tracking_weight": 0.1},
                {"tracking_weight": 0.1, "tracking_sigma": 0.2}, {"tracking_weight": 0.1, "points": 3}],
    }  # fmt: skip
    mirrored = replace(case, reference=Video(case.reference.frames_THWC.flip(2), 8.0))
    variants = [
        (make(name, shorter), case), (make(name, shorter), mirrored),
        (make(name, shorter), replace(case, reference_prompt="a dog on sea")),
        *((make(name, replace(shorter, **{key: value})), case)
          for key, value in {"lr": 0.03, "seed": 1, "weight_decay": 0.5, "clip": 0.1, "beta2": 0.9,
                             "shift": 2.0, "iterations": 2}.items()),
        *((make(name, shorter, **settings), case) for settings in own[name]),
    ]  # fmt: skip
    for method, one in variants:
        transfer(backbone, method, one, cache, steps=1, cfg_scale=1.0)
    assert cache.misses == len(variants)
    often = make(name, replace(shorter, checkpoint_every=1))
    transfer(backbone, often, case, cache, steps=1, cfg_scale=1.0)
    assert cache.misses == len(variants)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("cfg_scale", [1.0, 3.0])
def test_budget_is_what_is_measured(backbone: WanBackbone, case: TransferCase, name: str, cfg_scale: float) -> None:
    for settings in {
        "motion_inversion": [{"blocks": [0]}, {"blocks": [2, 1], "share": 0.5, "debiased_loss": True}],
        "motion_director": [{"skip_spatial": 0.0}, {"skip_spatial": 0.5, "share": 0.5}, {"skip_spatial": 1.0}],
        "det": [{}, {"tracking_weight": 0.1}],
    }[name]:
        method = make(name, **settings)
        result = transfer(backbone, method, case, cfg_scale=cfg_scale)
        assert result.passes == method.budget(backbone.layout, SAMPLER.steps, cfg_scale), settings


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
    assert inversion_method(replace(TUNING, iterations=400), blocks=[12, 14, 16]).budget(wan, 50, 5.8) == PassCounter(
        400 * 30 + sampling, 400 * 18, 400
    )
    assert det(replace(TUNING, iterations=500)).budget(wan, 50, 5.8) == PassCounter(500 * 30 + sampling, 500 * 30, 500)
    both = director(replace(TUNING, iterations=300), skip_spatial=0.0, share=0.5).budget(wan, 50, 5.8)
    assert both == PassCounter(600 * 30 + 4 * 30 + sampling, 600 * 30, 600, 0, 300 * 30, 300 * 30)


@pytest.mark.parametrize("name", METHODS)
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
    with torch.no_grad(), method.session(job):
        assert error() < 0.9 * before
    assert error() == before


@pytest.mark.parametrize("name", METHODS)
def test_a_stopped_case_goes_on_and_leaves_nothing(
    backbone: WanBackbone, case: TransferCase, tmp_path: Path, name: str
) -> None:
    whole = transfer(backbone, make(name), case)
    before = remains(backbone)

    def stop(row: dict[str, float]) -> None:
        if row["iteration"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_case(backbone, make(name), SAMPLER, case, TensorCache(tmp_path), on_iteration=stop)
    assert remains(backbone) == before
    assert [file.name.endswith(".checkpoint.safetensors") for file in tmp_path.glob("*.safetensors")] == [True]
    resumed = transfer(backbone, make(name), case, TensorCache(tmp_path))
    assert same(resumed, whole)
    assert [row["iteration"] for row in resumed.trace] == [2, 3, 4]
    assert not list(tmp_path.glob("*checkpoint*"))


@pytest.mark.parametrize("name", METHODS)
def test_an_error_while_denoising_leaves_nothing(backbone: WanBackbone, case: TransferCase, name: str) -> None:
    before, method = remains(backbone), make(name)

    def fail(step: int) -> None:
        assert remains(backbone) != before
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        run_case(backbone, method, SAMPLER, case, TensorCache(None), on_step=fail)
    assert remains(backbone) == before


def test_value_tables_of_motion_inversion(backbone: WanBackbone, case: TransferCase, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    results = [
        transfer(backbone, inversion_method(value=kind), case, cache) for kind in ("difference", "none", "whole")
    ]
    assert cache.misses == 1  # tuned once, sampled in three ways
    assert not same(results[0], results[1]) and not same(results[0], results[2]) and not same(results[1], results[2])
    (file,) = tmp_path.glob("*.safetensors")
    stored = load_file(file)
    assert {name: tuple(value.shape) for name, value in stored.items()} == {
        f"blocks.{b}.{kind}": shape
        for b in (1, 2)
        for kind, shape in (("query_key", (5, 1, 48)), ("value", (5, 6, 6, 48)))
    }
    value = stored["blocks.1.value"]
    adapter = inversion_method().sampler_adapter(job_for(backbone, case), stored)
    expected = torch.stack([value[0], *(value[t] - value[t - 1] for t in range(1, 5))])
    torch.testing.assert_close(adapter.tensors()["blocks.1.value"], expected)
    torch.testing.assert_close(adapter.tensors()["blocks.1.query_key"], stored["blocks.1.query_key"])


@pytest.mark.parametrize("factory", [inversion_method, director])
def test_inversion_blends_into_the_start(backbone: WanBackbone, case: TransferCase, factory, tmp_path: Path) -> None:
    cache, method = TensorCache(tmp_path), factory(share=0.5)
    job = replace(job_for(backbone, case), cache=cache)
    noise = seeded_noise(backbone.layout.latent_shape, 0, backbone.device)
    text, x = backbone.embed(case.reference_prompt), job.reference
    levels = sigma_schedule(4, 3.0)[::-1]
    with torch.no_grad():
        for low, high in zip(levels[:-1], levels[1:], strict=True):
            x = x + (high - low) * backbone.velocity(x, low, text)  # without adapters
        with method.session(job):
            torch.testing.assert_close(method.start(job, noise), (x + noise) / 2**0.5)
    assert torch.equal(method.start(job, noise), noise)  # nothing is kept beyond the session
    assert cache.misses == 2


def sets_at(layer: nn.Module) -> int:
    """How many LoRA sets act on a linear layer, one wrapped in the other."""
    return 1 + sets_at(layer.base_layer) if isinstance(layer, LoraLayer) else 0


def test_motion_director_takes_apart_its_two_paths(backbone: WanBackbone, case: TransferCase) -> None:
    job, text = job_for(backbone, case), backbone.embed("")
    seen: list[tuple[int, float, bool]] = []
    plain = backbone.velocity

    def watched(latents: Tensor, sigma: float, text: Tensor) -> Tensor:
        seen.append((latents.shape[2], sigma, sets_at(blocks_of(backbone)[0].attn1.to_q)))
        return plain(latents, sigma, text)

    method = director(replace(TUNING, iterations=12), dropout=0.0)
    adapters = method.adapters(job)
    start = {group: adapter.tensors() for group, adapter in adapters.items()}
    backbone.velocity = watched
    try:
        tune(backbone, adapters, method.losses(job, text, adapters), method.tuning)
    finally:
        del backbone.velocity
    expected = []
    for choices in method.tuning.draws():  # frames, level, adapters in place
        expected += [(5, choices.sigma, 1)] if method.skips(choices) else [
            (1, choices.sigma, 1), (5, choices.sigma, 2),
        ]  # fmt: skip
    assert seen == expected
    assert {method.skips(choices) for choices in method.tuning.draws()} == {True, False}
    assert all(not torch.equal(v, start[g][n]) for g, a in adapters.items() for n, v in a.tensors().items())
    always = director(skip_spatial=1.0)
    adapters = always.adapters(job)
    tune(backbone, adapters, always.losses(job, text, adapters), always.tuning)
    names = adapters[SPATIAL].tensors()
    assert all(torch.equal(value, start[SPATIAL][name]) for name, value in names.items())


def test_losses_of_motion_director_by_hand(backbone: WanBackbone, case: TransferCase) -> None:
    job, text = job_for(backbone, case), backbone.embed("")
    choices = Draw(0, 0.4, coin=0.9, frame=0.4, anchor=0.5, seed=11)  # pixel frame 3 of 9, in latent frame 2
    noise = seeded_noise(backbone.layout.latent_shape, 11, backbone.device)
    image = backbone.encode(Video(case.reference.frames_THWC[3:4], 8.0))

    def error(x: Tensor, n: Tensor) -> Tensor:
        return backbone.velocity(0.6 * x + 0.4 * n, 0.4, text) - (n - x)

    with torch.no_grad():
        spatial = error(image, noise[:, :, 2:3]).square().mean()
        e = error(job.reference, noise)
        temporal = e.square().mean() + (2**0.5 * e - e[:, :, 2:3]).square().mean()
        for noise_error, weight in ((False, 1.0), (True, 0.36)):
            method = director(noise_error=noise_error)
            losses = method.losses(job, text, method.adapters(job))
            (first, a), (second, b) = list(losses(choices))
            assert (first, second) == (SPATIAL, TEMPORAL)
            torch.testing.assert_close(torch.stack([a, b]), weight * torch.stack([spatial, temporal]))


def test_a_frame_is_encoded_as_an_image(backbone: WanBackbone, case: TransferCase) -> None:
    """The autoencoder is causal: the clip's first latent frame is that of its first picture."""
    frames = case.reference.frames_THWC
    image = backbone.encode(Video(frames[:1], 8.0))
    assert image.shape[2] == 1
    torch.testing.assert_close(image, backbone.encode(case.reference)[:, :, :1], atol=1e-5, rtol=1e-4)


def test_tracking_loss_of_det_acts_at_low_noise_only(backbone: WanBackbone, case: TransferCase) -> None:
    job, text = job_for(backbone, case), backbone.embed("")
    off, on = det(), det(tracking_weight=0.3, tracking_sigma=0.5)
    values = {}
    with torch.no_grad():
        for sigma in (0.4, 0.5, 0.6):
            choices = Draw(0, sigma, 0.0, 0.0, 0.0, 11)
            values[sigma] = [
                float(next(m.losses(job, text, m.adapters(job))(choices))[1]) for m in (off, on)
            ]  # fmt: skip
        noise = seeded_noise(backbone.layout.latent_shape, 11, backbone.device)
        noisy = add_noise(job.reference, noise, 0.4)
        clean = noisy - 0.4 * backbone.velocity(noisy, 0.4, text)
    cells, visible = on.reference_cells(job)
    assert cells.shape == (16, 5, 2)
    pairs = [
        (clean[0, :, f, *cells[n, f]] - clean[0, :, f - 1, *cells[n, f - 1]]) * (visible[n, f] & visible[n, f - 1])
        for n in range(16)
        for f in range(1, 5)
    ]
    scatter = float(torch.stack(pairs).square().mean())
    assert scatter > 0
    assert values[0.4][1] - values[0.4][0] == pytest.approx(0.3 * scatter, rel=1e-3)
    assert values[0.5][1] > values[0.5][0]
    assert values[0.6][1] == values[0.6][0]


def test_tracked_points_cover_the_first_frame() -> None:
    queries = grid_queries(20, 40, 2)
    assert queries.tolist() == [[0, 9.5, 4.5], [0, 29.5, 4.5], [0, 9.5, 14.5], [0, 29.5, 14.5]]


def test_points_are_drawn_from_the_mask() -> None:
    mask = torch.zeros(20, 40, dtype=torch.bool)
    mask[3:5, 10:13] = True
    inside = {(0, x, y) for y in (3, 4) for x in (10, 11, 12)}
    some, every = (mask_queries(mask, count, seed=0).tolist() for count in (4, 9))
    assert len({tuple(point) for point in some}) == 4 and {tuple(point) for point in some} < inside
    assert len(every) == 6 and {tuple(point) for point in every} == inside
    assert mask_queries(mask, 4, seed=0).tolist() == some != mask_queries(mask, 4, seed=1).tolist()


def test_tracks_of_det_start_in_the_foreground(
    backbone: WanBackbone, case: TransferCase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    method, mask = det(tracking_weight=0.1), torch.zeros(9, 48, 48, dtype=torch.bool)
    later = mask.clone()
    later[1:] = True  # nothing in the first frame
    mask[0, 8:12, 20:24] = True  # latent cell (2, 5), of 4 x 4 pixels
    everywhere = method.reference_cells(job_for(backbone, case))[0]
    for foreground, where in ((None, "a grid over"), (later, "a grid over"), (mask, "the foreground's mask")):
        job = job_for(backbone, replace(case, foreground_THW=foreground))
        cells = method.reference_cells(job)[0]
        assert cells.shape == (16, 5, 2)
        if foreground is mask:
            assert (cells[:, 0] == torch.tensor([2, 5])).all()
        else:
            assert torch.equal(cells, everywhere)
        caplog.clear()
        identity = method.identity(job)
        assert torch.equal(identity["cells"], cells) and f"det tracks 16 points from {where}" in caplog.text


@pytest.mark.parametrize("name", METHODS)
def test_tuned_methods_need_the_case(backbone: WanBackbone, name: str) -> None:
    with pytest.raises(ValueError, match=r"job\.case"), make(name).session(job_for(backbone, None)):
        pass


SHORT = Layout("short", 5, 48, 48, 30, 4, 8, 16, (1, 2, 2), 12)  # two latent frames


def test_settings_that_do_not_fit_the_model_are_refused(backbone: WanBackbone) -> None:
    with pytest.raises(ValueError, match=r"method\.blocks=\[2, 3\] does not fit: random_wan has blocks 0\.\.2"):
        inversion_method(blocks=[3, 2]).requirements(backbone.layout)
    with pytest.raises(ValueError, match=r"det needs 3 latent frames, short has 2: set backbone\.frames .* 9"):
        det().requirements(SHORT)
    for name in METHODS:
        make(name).requirements(backbone.layout)
    inversion_method(blocks=[29]).requirements(SHORT)
    director().requirements(SHORT)


@pytest.mark.parametrize(
    ("factory", "settings", "message"),
    [
        (inversion_method, {"blocks": []}, "method.blocks"), (inversion_method, {"blocks": [-1]}, "method.blocks"),
        (inversion_method, {"value": "some"}, "difference, none, whole"),
        (inversion_method, {"pool": 0}, "method.pool"),
        (director, {"rank": 0}, "method.rank"), (director, {"dropout": 1.0}, "method.dropout"),
        (director, {"skip_spatial": 1.5}, "method.skip_spatial"),
        (det, {"channels": 0}, "method.channels"), (det, {"initial": "zero"}, "normal, kaiming"),
        (det, {"tracking_weight": -1.0}, "method.tracking_weight"), (det, {"points": 0}, "method.points"),
        (det, {"tracking_sigma": 2.0}, "method.tracking_sigma"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(factory, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        factory(**settings)


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        return compose("config", overrides=["output_dir=unused", *overrides])


@pytest.mark.parametrize("name", METHODS)
def test_yaml_makes_the_method(name: str) -> None:
    plan = make_plan(composed(f"method={name}", "sampler.shift=2.5"))
    assert plan.method.name == name
    assert isinstance(plan.method, Tuned)
    assert plan.method.tuning.shift == 2.5
    for override in ("method.tuning.iterations=0", "method.tuning.lr=0", "+method.tuning.z=1", "+method.z=1"):
        with pytest.raises(UserError, match=override.split("=")[0].split(".")[-1]):
            make_plan(composed(f"method={name}", override))


def test_a_block_beyond_the_model_is_a_users_error() -> None:
    with pytest.raises(UserError, match=r"method\.blocks=\[2, 6\] does not fit"):
        make_plan(composed("method=motion_inversion", "method.blocks=[2,6]"))


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_runs_from_the_command_line(random_wan: Path, tmp_path: Path, name: str) -> None:
    small = ["backbone.height=48", "backbone.width=48", "sampler.steps=2", "metrics=none", "logger=none"]
    small += ["method.blocks=[1]"] if name == "motion_inversion" else []
    run(composed(
        f"method={name}", f"backbone.path={random_wan}", *small, "guidance.block=1", "method.tuning.iterations=3",
        f"output_dir={tmp_path / 'out'}", f"cache_dir={tmp_path / 'cache'}",
    ))  # fmt: skip
    (trace,) = (tmp_path / "out").glob("cases/*/trace.csv")
    rows = list(csv.DictReader(trace.open()))
    assert [row["iteration"] for row in rows] == ["0", "1", "2"]
    assert {row["step"] for row in rows} == {"-1"}
