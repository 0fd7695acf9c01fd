"""The baselines as methods: their losses, what they refuse, and the numbers of their settings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from fastvmt.backbones.layout import Layout
from fastvmt.backbones.wan import WanBackbone
from fastvmt.construct import construct
from fastvmt.methods.guided import Guided
from fastvmt.methods.none import NoTransfer
from fastvmt.schedule import seeded_noise
from fastvmt.types import TransferCase
from helpers.config import composed
from helpers.methods import OPTIMISED, method_of
from helpers.transfers import job_for, same, transfer


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
        moved = (method.guide(job, step, x, job.sigmas[step]) - x).abs()
        assert float(moved.median()) == pytest.approx(rate, rel=1e-2)
    assert method.guide(job, 2, x, job.sigmas[2]) is x


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


@pytest.mark.parametrize(
    ("option", "change"),
    [
        ("ditflow", "target=weights"),
        ("ditflow", "displacement=mean"),
        ("ditflow", "temperature=0"),
        ("ditflow", "lr=0"),
        ("ditflow", "lr_end=-1"),
        ("ditflow", "iterations=0"),
        ("moft", "share=0"),
        ("moft", "share=1.5"),
        ("moft", "reference_noise=2"),
        ("smm", "ref=noisy"),
        ("smm", "init=zero"),
        ("smm", "fraction=1.1"),
        ("motionclone", "weight=-1"),
        ("motionclone", "ramp_share=0.6"),
        ("motionclone", "fraction=-0.1"),
        ("motionclone", "reference_noise=-1"),
        ("flowmotion", "representation=noisy"),
        ("flowmotion", "across=2"),
        ("flowmotion", "weight=-1"),
        ("flowmotion", "difference_weight=-1"),
    ],
)
def test_values_out_of_range_name_their_key(option: str, change: str) -> None:
    key = change.split("=")[0]
    with pytest.raises(Exception, match=rf"method\.{key}=.* is out of range.*Set it with method\.{key}=<value>"):
        method_of(option, change)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("ditflow", {"iterations": 5, "lr": 0.002, "lr_end": 0.001, "temperature": 2.0, "rope": True, "block": 14}),
        ("moft", {"iterations": 5, "lr": 0.002, "lr_end": 0.001, "share": 0.04, "block": 14}),
        ("smm", {"ref": "matched", "iterations": 10, "lr": 0.007, "lr_end": 0.004, "block": 14}),
        (
            "flowmotion",
            {"iterations": 3, "lr": 0.003, "lr_end": 0.003, "weight": 20.0, "difference_weight": 5.0, "across": 0.1},
        ),
        ("motionclone", {"reference_noise": 0.6, "weight": 2000.0, "block": 14}),
        ("motion_inversion", {"tuning.iterations": 400, "tuning.lr": 0.02, "tuning.shift": 7.0}),
        ("motion_director", {"tuning.iterations": 300, "tuning.lr": 5e-4, "rank": 32, "skip_spatial": 0.2}),
        ("det", {"tuning.iterations": 500, "tuning.lr": 1e-5, "tuning.clip": 1.0, "initial": "normal"}),
    ],
)
@pytest.mark.parametrize("model", ["wan_1_3b", "wan_14b"])
def test_numbers_of_wan_are_the_papers(option: str, expected: dict[str, float], model: str) -> None:
    cfg = composed(f"method={option}", f"backbone={model}")
    assert {key: OmegaConf.select(cfg.method, key) for key in expected} == expected
    method = construct(cfg.method, "method")
    if isinstance(method, Guided):
        assert method.optimisation.guided(50) == {"smm": 20}.get(option, 10)
    if option == "motionclone":
        assert method.guided_steps(50) == 25
    if option == "motion_inversion":
        assert method.blocks == ([12, 14, 16] if model == "wan_1_3b" else [16, 19, 21])
