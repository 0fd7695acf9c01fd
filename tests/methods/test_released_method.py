"""Transfers with the released code's presets: what each switch reaches, costs, and refuses."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from fastvmt.backbones.wan import WanBackbone
from fastvmt.cache import TensorCache
from fastvmt.config import config_folder
from fastvmt.engine.identity import config_hash
from fastvmt.engine.plan import Plan, make_plan
from fastvmt.errors import UserError
from fastvmt.methods.fastvmt import FastVMT
from fastvmt.methods.job import Job
from fastvmt.methods.released import ReleasedFastVMT, rounded_level
from fastvmt.motion.released import spatial_reduction
from fastvmt.motion.switches import Switches
from fastvmt.schedule import add_noise, seeded_noise, sigma_schedule
from fastvmt.settings import HeadReduce, Skip, Window
from fastvmt.types import TransferCase
from helpers import methods
from helpers.config import composed
from helpers.released_loops import CODE, loop_flow, softmax
from helpers.transfers import SAMPLER, transfer

GUIDANCE = replace(methods.GUIDANCE, iterations=3, window_weight=1.0, reference_noise=1.0, rope=True)
WINDOW = replace(methods.WINDOW, tile=[2, 3], centre_gradient=False)
CHANGES = {f.name: getattr(CODE, f.name) for f in fields(Switches)} | {"ref_noise": "init"}


def released(switches: Switches, window: Window = WINDOW, **guidance: object) -> ReleasedFastVMT:
    return ReleasedFastVMT(window, Skip(2), replace(GUIDANCE, **guidance), switches)


@pytest.mark.parametrize("window", [WINDOW, replace(methods.WINDOW, l=5, sf=1), replace(methods.WINDOW, l=0)])
def test_with_all_switches_off_it_is_fastvmt_bit_for_bit(
    backbone: WanBackbone, case: TransferCase, window: Window
) -> None:
    correct = transfer(backbone, FastVMT(window, Skip(2), GUIDANCE), case)
    off = transfer(backbone, released(Switches(), window), case)
    assert torch.equal(off.latents_BCFHW, correct.latents_BCFHW)
    assert off.trace == correct.trace
    assert off.passes == correct.passes


def test_each_switch_alone_reaches_the_result(backbone: WanBackbone, case: TransferCase, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    base = transfer(backbone, released(Switches()), case, cache)
    ends = {}
    for name, value in CHANGES.items():
        ends[name] = transfer(backbone, released(replace(Switches(), **{name: value})), case, cache).latents_BCFHW
        assert torch.isfinite(ends[name]).all()
    assert [name for name, end in ends.items() if torch.equal(end, base.latents_BCFHW)] == []
    names = list(ends)
    assert [(a, b) for a in names for b in names if a < b and torch.equal(ends[a], ends[b])] == []


def numpy_loss(
    method: ReleasedFastVMT, reads: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], grid: tuple
) -> float:
    """The released code's loss of the generated (first) and the reference's queries and keys, in loops."""
    w, g, (frames, height, width) = method.window, method.guidance, grid
    flows, tracked = [], []
    inter = [(i, j) for i in range(frames) for j in range(i + 1, min(frames, i + w.sf))]
    every = np.array([(r, c) for r in range(height) for c in range(width)], float)
    for q, k in reads:
        heads, size = q.shape[-2:]
        flat = [x.reshape(-1, heads, size) for x in (q, k)]
        runs = [n - n % heads for n in range(len(flat[0]))]
        q, k = (np.array([x[run : run + heads, n % heads].mean(0) for n, run in enumerate(runs)]) for x in flat)
        q, k = (x.reshape(frames, height * width, size) for x in (q, k))
        scale = w.tau / size**0.5
        flow, windows = loop_flow(q, k, inter, grid, scale, w, method.switches)
        own = [np.array([softmax(scale * k[i] @ a) @ every for a in q[i]]) - every for i in range(frames)]
        flows.append([*own, *flow])
        tracked.append(
            [
                [[k[j, r * width + c].mean() for r, c in cells] for cells in tiles]
                for (_, j), tiles in zip(inter, windows, strict=True)
            ]
        )
    ramp = np.linspace(1, 1 - g.alpha, w.sf)
    weights = [ramp[0]] * frames + [ramp[j - i] for i, j in inter]
    squared = [((a - b) ** 2).sum() for a, b in zip(*flows, strict=True)]
    terms = []
    for i in range(frames):
        mine = np.array([t for (start, _), t in zip(inter, tracked[0], strict=True) if start == i])
        if len(mine) > 1:
            terms.append(np.linalg.norm(mine[1:] - mine[:-1], axis=-1).mean())
    return g.amf_weight * float(np.mean(np.multiply(weights, squared))) + g.window_weight * float(np.mean(terms))


def test_first_loss_of_the_official_form_by_hand(backbone: WanBackbone, case: TransferCase) -> None:
    method = released(CODE, replace(WINDOW, sf=3, tau=20.0))
    sigma = sigma_schedule(4, SAMPLER.shift)[0]
    row = transfer(backbone, method, case).trace[0]
    start = seeded_noise(backbone.layout.latent_shape, case.seed, backbone.device).bfloat16()
    other = seeded_noise(backbone.layout.latent_shape, GUIDANCE.reference_seed, backbone.device)
    noisy = add_noise(backbone.encode(case.reference), other, sigma)
    with torch.no_grad():
        reads = tuple(
            tuple(x.double().numpy() for x in backbone.query_key(latents, rounded_level(sigma), text, 1, True))
            for latents, text in ((start, backbone.embed(case.prompt)), (noisy, backbone.embed("")))
        )
    assert row["loss"] == pytest.approx(numpy_loss(method, reads, backbone.layout.grid), rel=1e-3)


def test_the_trajectory_is_rounded_to_the_latents_precision(
    backbone: WanBackbone, case: TransferCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[torch.Tensor]] = {}
    velocity = Job.velocity

    def watched(job: Job, i: int, x: torch.Tensor, sigma: float) -> torch.Tensor:
        seen.setdefault(dtype, []).append(x)
        return velocity(job, i, x, sigma)

    monkeypatch.setattr(Job, "velocity", watched)
    for dtype in ("float32", "bfloat16"):
        transfer(backbone, released(Switches(latent_dtype=dtype)), case)
    assert [torch.equal(x, x.bfloat16().float()) for x in seen["bfloat16"]] == [True] * 4
    assert [torch.equal(x, x.bfloat16().float()) for x in seen["float32"]] == [False] * 4
    assert {x.dtype for x in seen["bfloat16"]} == {torch.float32}


@pytest.mark.parametrize(("dtype", "third"), [("float32", 750.0), ("bfloat16", 752.0)])
def test_every_pass_is_told_the_rounded_timestep(
    backbone: WanBackbone, case: TransferCase, dtype: str, third: float
) -> None:
    """Of the timesteps 1000, 900, 750, 500 bfloat16, with multiples of four here, lacks 750: the even mantissa is 752.

    Three guided steps; the last two steps end with both passes of classifier-free guidance.
    """
    told: list[float] = []
    hook = backbone.transformer.register_forward_pre_hook(lambda _module, given: told.append(float(given[1])))
    try:
        transfer(backbone, released(Switches(timestep_dtype=dtype), fraction=0.75), case)
    finally:
        hook.remove()
    assert set(told) == {1000.0, 900.0, third, 500.0}
    assert told[-4:] == [third, third, 500.0, 500.0]


def test_init_noise_is_the_start_noise_and_follows_the_seed(
    backbone: WanBackbone, case: TransferCase, tmp_path: Path
) -> None:
    """At level 1 the reference is noise alone: with the start noise and the null prompt there is nothing to gain."""
    cache = TensorCache(tmp_path)
    null, other = (replace(case, prompt="", seed=seed) for seed in (3, 8))
    init, independent = (released(Switches(ref_noise=noise), window_weight=0.0) for noise in ("init", "independent"))
    assert transfer(backbone, init, null, cache).trace[0]["loss"] == 0
    assert transfer(backbone, independent, null, cache).trace[0]["loss"] > 0
    before = cache.misses
    transfer(backbone, independent, other, cache)
    assert cache.misses == before
    transfer(backbone, init, other, cache)
    assert cache.misses == before + 2


def compose_method(*overrides: str) -> dict[str, object]:
    switches = OmegaConf.to_object(composed(*overrides).method.switches)
    return {key: value for key, value in switches.items() if key != "_target_"}


def test_presets_say_what_the_code_does() -> None:
    assert compose_method("method=fastvmt_released") == asdict(Switches())
    assert compose_method("method=fastvmt_official") == asdict(CODE)
    assert compose_method("method=fastvmt_fork") == asdict(CODE) | {"head_reduce": "mean_qk"}
    changes = "method.switches.parity=off", "method.switches.self_pairs=false"
    flipped = compose_method("method=fastvmt_official", *changes)
    assert flipped == asdict(CODE) | {"parity": "off", "self_pairs": False}


def plan(*overrides: str) -> Plan:
    return make_plan(composed(*overrides))


@pytest.mark.parametrize("option", ["fastvmt_released", "fastvmt_official", "fastvmt_fork"])
def test_presets_fit_the_embedded_model(option: str) -> None:
    method = plan(f"method={option}").method
    assert isinstance(method, ReleasedFastVMT)
    assert method.name == option
    assert method.window == Window(**composed(f"method={option}").window)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["method.switches.parity=half"],
            r"method\.switches\.parity=half is out of range: it must be one of off, zero_coord",
        ),
        (["+method.switches.speed=2"], "speed"),
        (["window.sf=1"], r"window\.sf=1 leaves no pair .* window\.sf=2 or more"),
        (["window=dense"], r"method\.switches\.window_clamp=positions needs windows.*window_clamp=centre"),
        (["window.l=13"], r"window\.l=13 with method\.switches\.window_clamp=positions must be at most 12"),
    ],
)
def test_what_does_not_fit_is_refused_before_weights(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan("method=fastvmt_official", *overrides)


def test_the_scramble_is_refused_before_weights_when_tokens_do_not_divide(backbone: WanBackbone) -> None:
    method = released(Switches(head_reduce="official_scramble"))
    method.requirements(backbone.layout)  # 180 tokens, 2 heads
    odd = replace(backbone.layout, height=24, width=24, frames=5)
    assert odd.grid == (3, 3, 3)
    with pytest.raises(ValueError, match=r"official_scramble needs a multiple of 2 tokens, one per head, not 27"):
        method.requirements(odd)


def test_dense_flow_accepts_what_does_not_concern_windows(backbone: WanBackbone) -> None:
    of_windows = ("window_clamp", "offset", "parity", "key_mean", "window_norm")
    correct = {name: getattr(Switches(), name) for name in of_windows}
    released(replace(CODE, **correct), replace(WINDOW, l=0)).requirements(backbone.layout)


def test_guidance_lowers_the_released_loss(backbone: WanBackbone, case: TransferCase) -> None:
    switches = replace(CODE, latent_dtype="float32", head_reduce="guidance")
    method = released(switches, iterations=8, lr=0.05, lr_end=0.05, head_reduce=HeadReduce.mean_logit)
    losses = [row["loss"] for row in transfer(backbone, method, case).trace if row["step"] == 0]
    assert 0 < losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("backbone", sorted(file.stem for file in (config_folder() / "backbone").glob("*.yaml")))
def test_the_row_of_the_spatial_reduction_differs_on_every_backbone(backbone: str) -> None:
    words = ("experiment=table_released", f"backbone={backbone}")
    row = composed(*words, "row=spatial_reduction").method
    own = composed(*words, "row=fastvmt").guidance.reduction
    assert spatial_reduction(Switches(**{k: v for k, v in row.switches.items() if k != "_target_"}), own) is not own
    if backbone == "tiny_wan":
        named = composed(*words, "method=fastvmt_released", "method.switches.spatial_reduction=sum")
        assert config_hash(composed(*words, "row=spatial_reduction")) == config_hash(named)
