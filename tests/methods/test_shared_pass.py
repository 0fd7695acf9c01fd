"""The shared pass: its gradient is that of a reading of its own, and the step's parts are the known ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fastvmt.backbones.wan import WanBackbone
from fastvmt.guidance.gradient import Gradient
from fastvmt.guidance.optimisation import optimise
from fastvmt.methods.fastvmt import FastVMT
from fastvmt.methods.released import ReleasedFastVMT
from fastvmt.methods.shared_pass import shared_pass
from fastvmt.motion.switches import Switches
from fastvmt.sampling import euler_step
from fastvmt.schedule import seeded_noise
from fastvmt.settings import Guidance, Predict, Skip
from fastvmt.types import PassCounter, TransferCase
from helpers.methods import GUIDANCE, WINDOW, fastvmt
from helpers.transfers import SAMPLER, distinct_job, same, transfer
from helpers.velocities import guided_velocity

BOTH = {"window_weight": 1.0, "diagnostics": True}


def shared(**guidance: object) -> Guidance:
    return replace(GUIDANCE, source="pass", **guidance)


@pytest.mark.parametrize(("block", "rope"), [(1, False), (2, True)])
def test_its_gradient_is_that_of_a_separate_reading(
    backbone: WanBackbone, case: TransferCase, block: int, rope: bool
) -> None:
    job = distinct_job(backbone, case)
    x, sigma = seeded_noise(job.reference.shape, 2, backbone.device), job.sigmas[1]
    numbers = {"block": block, "rope": rope, **BOTH}
    method = fastvmt(**numbers)
    expected = method.gradient(method.objective(job, 1, x, sigma))(x)
    compare = method.comparison(job, sigma)
    velocity, gradient = shared_pass(job, 1, x, sigma, compare, block=block, rope=rope, of_terms=True)
    torch.testing.assert_close(velocity, job.velocity(1, x, sigma))
    torch.testing.assert_close(gradient.loss, expected.loss)
    torch.testing.assert_close(gradient.value, expected.value)
    torch.testing.assert_close(gradient.norms, expected.norms)
    assert gradient.value.abs().max() > 0 and set(gradient.norms) == {"amf", "window"}


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_step_is_replayed_and_takes_the_velocity_of_before(
    backbone: WanBackbone, case: TransferCase, scale: float
) -> None:
    """x' = Euler(x) + (edit of x by one gradient, replayed), whatever the interval of reuse."""
    job = distinct_job(backbone, case, sampler=replace(SAMPLER, cfg_scale=scale))
    x, (sigma, following) = seeded_noise(job.reference.shape, 2, backbone.device), job.sigmas[:2]
    method = fastvmt(delta=2, source="pass")
    _, gradient = shared_pass(job, 0, x, sigma, method.comparison(job, sigma), block=1, rope=False)
    numbers = replace(fastvmt().optimisation, delta=GUIDANCE.iterations)
    calls: list[Tensor] = []

    def constant(x: Tensor) -> Gradient:
        calls.append(x)
        return gradient

    moved = optimise(x, constant, numbers, numbers.rates_within_step())
    velocity = guided_velocity(backbone, x, sigma, job.text, job.negative, scale)
    expected = euler_step(x, velocity, sigma, following) + (moved - x)
    torch.testing.assert_close(method.step(job, 0, x, sigma, following), expected)
    assert len(calls) == 1 and (moved - x).abs().max() > 1e-3
    assert [row["reused"] for row in job.trace] == [0.0, 1.0, 1.0, 1.0, 1.0]
    later = euler_step(x, velocity, sigma, following)
    torch.testing.assert_close(method.step(job, 2, x, sigma, following), later)  # two of four steps are guided


@pytest.mark.parametrize("every", [1, 2, 3, 50])
@pytest.mark.parametrize("diagnostics", [False, True])
def test_its_cost_has_a_closed_form(backbone: WanBackbone, case: TransferCase, every: int, diagnostics: bool) -> None:
    method = fastvmt(source="pass", window_weight=1.0, diagnostics=diagnostics, block=2)
    passes = transfer(backbone, method, case, negative_every=every).passes
    backwards = 2 * (3 if diagnostics else 1)  # two guided steps
    forwards = 3 * (4 + -(-4 // every)) + 2  # four steps, three blocks; the reference once, up to block 2
    assert passes == PassCounter(forwards, 2 * backwards, backwards, reference_forwards=2)
    declared = method.budget(backbone.layout, replace(SAMPLER, negative_every=every))
    assert (declared.block_forwards + 2, declared.gradients) == (passes.block_forwards, passes.gradients)


def test_diagnostics_change_nothing_and_tell_both_norms(backbone: WanBackbone, case: TransferCase) -> None:
    for source in ("reading", "pass"):
        plain, told = (
            transfer(backbone, fastvmt(source=source, window_weight=1.0, diagnostics=on), case) for on in (False, True)
        )
        assert same(plain, told)
        for row, more in zip(plain.trace, told.trace, strict=True):
            norms = {key: value for key, value in more.items() if key not in row}
            assert set(norms) == (set() if row["reused"] else {"grad_norm_amf", "grad_norm_window"})
            assert row["reused"] or abs(norms["grad_norm_amf"] - norms["grad_norm_window"]) <= row["grad_norm"] * 1.001


def test_without_reuse_or_guidance_both_sources_agree(backbone: WanBackbone, case: TransferCase) -> None:
    """With no guided step there is nothing to share; with one iteration only the velocity is another."""
    assert same(*(transfer(backbone, fastvmt(source=source, fraction=0.0), case) for source in ("reading", "pass")))
    one = {"iterations": 1, "lr": 0.02}
    rows = [transfer(backbone, fastvmt(delta=1, source=source, **one), case).trace[0] for source in ("reading", "pass")]
    assert rows[0] == pytest.approx(rows[1], rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_released_form_shares_its_pass_too(backbone: WanBackbone, case: TransferCase, dtype: str) -> None:
    switches = Switches(latent_dtype=dtype, timestep_dtype=dtype)
    method = ReleasedFastVMT(WINDOW, Skip(2), shared(), switches)
    result = transfer(backbone, method, case)
    assert result.passes.gradients == 2
    assert same(result, transfer(backbone, fastvmt(source="pass"), case)) is (dtype == "float32")


def test_a_line_needs_two_gradients() -> None:
    with pytest.raises(ValueError, match=r"^skip\.predict=linear .* guidance\.source=pass has one: set skip\.predict"):
        FastVMT(WINDOW, Skip(2, Predict.linear), shared())
