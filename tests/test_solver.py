"""Solvers against diffusers' pipeline and schedulers, and their history under guidance."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler, WanPipeline
from torch import Tensor

from fastvmt.backbones.base import NAMED_PROMPTS
from fastvmt.backbones.wan import WanBackbone
from fastvmt.cache import TensorCache
from fastvmt.config import config_folder
from fastvmt.construct import class_of
from fastvmt.data.video import write_video
from fastvmt.engine.plan import make_plan
from fastvmt.errors import UserError
from fastvmt.methods.base import Method
from fastvmt.methods.transfer import transfer_case
from fastvmt.sampling import euler_step
from fastvmt.schedule import sigma_schedule
from fastvmt.settings import Sampler
from fastvmt.solver import Multistep, Solver, solver_of
from fastvmt.types import TransferCase
from helpers.config import composed

SCHEDULERS = {"unipc": UniPCMultistepScheduler, "dpmpp": DPMSolverMultistepScheduler}
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
LEVELS = [1.0, 0.757, 0.522]
LATENTS = (1, 2, 1, 1, 1)


@pytest.mark.parametrize("steps", [3, 8, 20])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_plain_sampling_is_that_of_diffusers_pipeline(
    backbone: WanBackbone, pipeline: WanPipeline, case: TransferCase, name: str, steps: int, monkeypatch
) -> None:
    monkeypatch.setattr(pipeline, "scheduler", SCHEDULERS[name](**FLOW, flow_shift=3.0))
    case = replace(case, negative_prompt="a red car on sand")
    start = torch.randn(backbone.layout.latent_shape, generator=torch.Generator().manual_seed(case.seed))
    expected = pipeline(
        prompt=case.prompt,
        negative_prompt=case.negative_prompt,
        latents=start,
        height=48,
        width=48,
        num_frames=9,
        num_inference_steps=steps,
        guidance_scale=4.0,
        max_sequence_length=16,
        output_type="latent",
    ).frames
    sampler = Sampler(name=name, steps=steps, shift=3.0, cfg_scale=4.0)
    found = transfer_case(backbone, Method(), sampler, case, TensorCache(None)).latents_BCFHW
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    euler = transfer_case(backbone, Method(), replace(sampler, name="euler"), case, TensorCache(None)).latents_BCFHW
    assert (found - euler).abs().max() > 1e-2


def test_euler_is_the_default_and_unchanged(backbone: WanBackbone) -> None:
    levels, solver = solver_of(backbone, Sampler(steps=7, shift=3.0, strength=0.8))
    assert type(solver) is Solver
    assert levels == sigma_schedule(7, 3.0, 0.8)
    assert solver_of(backbone, Sampler(steps=7, shift=3.0, strength=0.8), False)[0] == sigma_schedule(7, 3.0)
    x, v = torch.randn(2, 1, 4, 2, 3, 3)
    assert torch.equal(solver.step(0, x, v, 0.8, 0.6), euler_step(x, v, 0.8, 0.6))
    assert solver.told(0, 0.123) == 0.123
    assert solver.history() == {}


@pytest.mark.parametrize("name", ["euler", *SCHEDULERS])
def test_levels_that_are_given_are_those(backbone: WanBackbone, name: str) -> None:
    sampler = Sampler(name=name, sigmas=LEVELS)
    assert sampler.steps == 3
    levels, solver = solver_of(backbone, sampler)
    torch.testing.assert_close(levels, [*LEVELS, 0.0], rtol=0, atol=2e-6)
    assert [round(solver.told(i, level), 3) for i, level in enumerate(LEVELS)] == LEVELS


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_weaker_start_shifts_a_share_of_the_levels(backbone: WanBackbone, name: str) -> None:
    whole, _ = solver_of(backbone, Sampler(name=name, steps=8, shift=3.0))
    weak, _ = solver_of(backbone, Sampler(name=name, steps=8, shift=3.0, strength=0.5))
    expected = [level / (3 - 2 * level) * 0.5 for level in whole]
    expected = [3 * level / (1 + 2 * level) for level in expected]
    torch.testing.assert_close(weak, expected, rtol=1e-4, atol=1e-4)


def straight(solver: Solver, levels: list[float], x0: Tensor, moves: dict[int, Tensor]) -> Tensor:
    """Where latents end whose clean ones are always ``x0``, moved before some steps."""
    x = torch.full_like(x0, 2.0)
    for i, (level, following) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
        x = x + moves[i] if i in moves else x
        x = solver.step(i, x, (x - x0) / level, level, following)
    return x


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_solver_ends_where_all_clean_latents_agree(backbone: WanBackbone, name: str) -> None:
    x0 = torch.tensor([0.3, -1.0]).view(LATENTS)
    for moves in ({}, {1: torch.tensor([0.5, 0.2]).view(LATENTS)}):
        levels, solver = solver_of(backbone, Sampler(name=name, steps=6, shift=3.0))
        torch.testing.assert_close(straight(solver, levels, x0, moves), x0, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_move_of_guidance_stays_in_the_latents(backbone: WanBackbone, name: str) -> None:
    """With the clean latents fixed, a solver scales a move as it scales the noise: by the ratio of the levels."""
    x0, move, at = torch.tensor([0.3, -1.0]).view(LATENTS), torch.tensor([0.5, 0.2]).view(LATENTS), 2
    ends = []
    for moved in (False, True):
        levels, solver = solver_of(backbone, Sampler(name=name, steps=6, shift=3.0))
        x = torch.full_like(x0, 2.0)
        for i in range(at + 2):
            x = x + move if moved and i == at else x
            x = solver.step(i, x, (x - x0) / levels[i], levels[i], levels[i + 1])
        ends.append(x)
    torch.testing.assert_close(ends[1] - ends[0], move * levels[at + 2] / levels[at], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_solver_goes_on_from_its_history(backbone: WanBackbone, name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    velocities = torch.randn(6, *LATENTS, generator=generator)
    for stop in range(1, 6):
        ends = []
        for broken in (False, True):
            levels, solver = solver_of(backbone, Sampler(name=name, steps=6, shift=3.0))
            x = torch.ones(LATENTS)
            for i, velocity in enumerate(velocities):
                if broken and i == stop:
                    history = {key: value.clone() for key, value in solver.history().items()}
                    solver = solver_of(backbone, Sampler(name=name, steps=6, shift=3.0))[1]
                    assert isinstance(solver, Multistep)
                    solver.go_on(stop, history)
                    x = x.clone()
                x = solver.step(i, x, velocity, levels[i], levels[i + 1])
            ends.append(x)
        assert torch.equal(*ends), stop


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sampler.sigmas=[0.5,0.5]"], "sampler.sigmas=[0.5, 0.5] is out of range: it must be falling"),
        (["sampler.sigmas=[1.5,0.5]"], "sampler.sigmas=[1.5, 0.5] is out of range"),
        (["sampler.sigmas=[0.5,0.0]"], "the closing 0 is added"),
        (["sampler.sigmas=[]"], "sampler.sigmas=[] is out of range"),
        (["sampler.sigmas=[1.0,nan]"], "sampler.sigmas=[1.0, nan] is out of range"),
        (["sampler.sigmas=[1.0,0.5]", "sampler.strength=0.5"], "sampler.strength=0.5 is out of range"),
        (["sampler.name=heun"], "sampler.name=heun is out of range: it must be one of euler, unipc, dpmpp"),
        (
            ["sampler.name=unipc", "method=smm", "method.restart=true"],
            "sampler.name=unipc keeps a history of its steps, in which those that method.restart=true repeats",
        ),
    ],
)
def test_what_cannot_be_sampled_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as error:
        make_plan(composed(*words))
    assert "\n" not in str(error.value)


def test_a_model_with_levels_of_its_own_takes_euler_steps(random_cogvideox) -> None:
    small = ["backbone.frames=9", "backbone.height=48", "backbone.width=48", "backbone.max_tokens=16"]
    words = ["backbone=cogvideox_5b", f"backbone.path={random_cogvideox}", *small, "guidance.block=1", "window.l=3"]
    assert make_plan(composed(*words)).layout.own_levels
    with pytest.raises(UserError, match="sampler.name=dpmpp needs noise levels of a flow, but cogvideox-5b has its"):
        make_plan(composed(*words, "sampler.name=dpmpp"))


def test_wans_own_default_is_an_option() -> None:
    sampler = composed("sampler=wan_default").sampler
    assert (sampler.name, sampler.steps, sampler.shift, sampler.cfg_scale) == ("unipc", 50, 3.0, 5.0)


def test_wans_negative_prompt_is_for_wan(random_cogvideox, random_wan, case, tmp_path) -> None:
    clip = tmp_path / "clip.mp4"
    write_video(clip, case.reference)
    words = ["backbone.height=48", "backbone.width=48", "backbone.max_tokens=16", "guidance.block=1", "window.l=3"]
    words += [f"video={clip}", "prompt=a dog", "negative_prompt=wan"]
    assert make_plan(composed(f"backbone.path={random_wan}", *words)).cases[0].negative_prompt == "wan"
    cog = ["backbone=cogvideox_5b", f"backbone.path={random_cogvideox}", "backbone.frames=9"]
    with pytest.raises(UserError, match=r"^negative_prompt=wan stands for Wan's own, and cogvideox-5b is another"):
        make_plan(composed(*cog, *words))


def test_every_named_negative_prompt_is_known_to_all() -> None:
    files = sorted((config_folder() / "backbone").glob("*.yaml"))
    kinds = {class_of(composed(f"backbone={file.stem}").backbone, "backbone") for file in files}
    assert {name for kind in kinds for name in kind.negative_prompts} == NAMED_PROMPTS.keys()
