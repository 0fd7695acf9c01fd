"""Numbers that leave their range end a case where they arise, named; healthy ones never do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from fastvmt.backbones.wan import WanBackbone
from fastvmt.divergence import (
    FIRST,
    LARGEST_GROWTH,
    LARGEST_NORM,
    Diverged,
    Divergence,
    check_latents,
    check_loss,
    diverging_at,
    expected_rms,
)
from fastvmt.methods.base import Method
from fastvmt.schedule import add_noise, seeded_noise
from fastvmt.tuning.loop import Tuning
from fastvmt.types import TransferCase
from helpers.methods import fastvmt, make, method_of
from helpers.transfers import transfer

CPU = torch.device("cpu")


def spoil(bad: float) -> Callable[[Tensor], Tensor]:
    """One entry of a tensor becomes ``bad``."""

    def spoilt(x: Tensor) -> Tensor:
        x = x.clone()
        x.view(-1)[0] = bad
        return x

    return spoilt


@contextmanager
def spoilt_parameter(parameter: Tensor, bad: float) -> Iterator[None]:
    """Within the context one entry of a model's parameter is ``bad``."""
    before = parameter.detach().clone()
    try:
        parameter.data.copy_(spoil(bad)(before))
        yield
    finally:
        parameter.data.copy_(before)


BAD = pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])


def ended(backbone: WanBackbone, case: TransferCase, method: Method | None = None) -> Divergence:
    """What a transfer says of the numbers that end it."""
    with pytest.raises(Diverged) as raised:
        transfer(backbone, method or fastvmt(), case)
    return raised.value.found


@BAD
@pytest.mark.parametrize(
    ("function", "what", "cause"),
    [
        ("encode", "reference's latents", "autoencoder"),
        ("embed", "text embeddings", "text encoder"),
        ("velocity", "model's velocity", "transformer"),
    ],
)
def test_what_the_model_gives(function, what, cause, bad, backbone, case, monkeypatch) -> None:
    own, spoilt = getattr(backbone, function), spoil(bad)
    monkeypatch.setattr(backbone, function, lambda *inputs: spoilt(own(*inputs)))
    found = ended(backbone, case)
    assert what in found.what and cause in found.cause
    assert found.step == (0 if function == "velocity" else None)


@BAD
def test_the_start_noise(bad, backbone, case, monkeypatch) -> None:
    monkeypatch.setattr("fastvmt.methods.transfer.seeded_noise", lambda *inputs: spoil(bad)(seeded_noise(*inputs)))
    assert "start latents" in ended(backbone, case).what


@pytest.mark.parametrize("name", ["fastvmt", "ditflow", "moft", "smm", "motionclone"])
def test_features_of_the_reference_and_of_the_video(name, backbone, case, monkeypatch) -> None:
    method = fastvmt() if name == "fastvmt" else method_of(name)
    function = "hidden" if name in ("moft", "smm") else "query_key"
    own = getattr(backbone, function)

    def spoilt(*inputs: object) -> object:
        found = own(*inputs)
        return math.nan * found if isinstance(found, Tensor) else tuple(math.nan * each for each in found)

    with spoilt_parameter(backbone.transformer.blocks[0].ffn.net[2].bias, math.nan):
        found = ended(backbone, case, method)
    assert "that the guidance reads" in found.what and "transformer" in found.cause and found.step == 0
    function = "tapped_velocity" if name == "motionclone" else function
    own = getattr(backbone, function)
    with monkeypatch.context() as patch:
        patch.setattr(backbone, function, lambda *x: spoilt(*x) if torch.is_grad_enabled() else own(*x))
        found = ended(backbone, case, method)
    assert "motion loss" in found.what and (found.step, found.iteration) == (0, 0) and math.isnan(found.loss or 0)


@BAD
@pytest.mark.parametrize("architecture", ["backbone", "cogvideox"])
def test_decoded_frames_before_they_are_clamped(architecture, bad, case, request) -> None:
    """Infinity would be clamped to white by the autoencoder itself, and NaN be black."""
    model = request.getfixturevalue(architecture)
    named = dict(model.vae.decoder.named_parameters())
    bias = next(named[name] for name in ("conv_out.bias", "conv_out.conv.bias") if name in named)
    with spoilt_parameter(bias, bad):
        assert "decoded frames" in ended(model, case, Method()).what
    assert not model.vae.decoder._forward_hooks


@pytest.mark.parametrize("name", ["motion_inversion", "motion_director", "det"])
def test_tuning(name, backbone, case, monkeypatch) -> None:
    own = backbone.velocity
    monkeypatch.setattr(backbone, "velocity", lambda *x: own(*x) * (math.inf if torch.is_grad_enabled() else 1))
    found = ended(backbone, case, make(name, Tuning(2, 0.01, 3.0)))
    assert found.iteration is not None and "method.tuning.lr" in found.cause and found.step is None
    assert not any(module._forward_hooks for module in backbone.transformer.modules())


def test_rates_that_are_far_too_large(backbone, case) -> None:
    found = ended(backbone, case, fastvmt(lr=1e3, lr_end=1e3))
    assert found.step == 0 and found.norm is not None and found.norm > 100 and "guidance.lr" in found.cause


def test_a_noised_clip_has_the_norm_that_its_level_expects() -> None:
    clean, noise = (scale * seeded_noise((1, 4, 5, 16, 16), seed, CPU) for scale, seed in ((1.5, 0), (1.0, 1)))
    for sigma in (0.0, 0.3, 0.7, 1.0):
        x = add_noise(clean, noise, sigma)
        assert float(x.square().mean().sqrt()) == pytest.approx(expected_rms(sigma, 1.5), rel=0.02)
        check_latents(x, sigma, 1.5)
        check_latents(0.99 * LARGEST_NORM / 1.02 * x, sigma, 1.5)
        for wrong in (1.03 * LARGEST_NORM, math.nan, math.inf):
            with pytest.raises(Diverged, match="have left the schedule"):
                check_latents(wrong * x, sigma, 1.5)
    assert expected_rms(0.0, 0.2) == expected_rms(1.0, 0.2) == 1


@pytest.mark.parametrize("step", [-1, 2])
def test_a_loss_that_grows(step: int) -> None:
    first = [{"step": step, "iteration": i, "loss": loss} for i, loss in enumerate([2.0, *[1.0] * (FIRST - 1)])]
    other = [{"step": -1 - step, "iteration": 0, "loss": 1e-9}] * FIRST
    check_loss({"step": step, "iteration": 10, "loss": 2 * LARGEST_GROWTH}, [*other, *first])
    grown = {"step": step, "iteration": 10, "loss": 2.01 * LARGEST_GROWTH}
    check_loss(grown, first[1:])  # too few to say what is usual
    with pytest.raises(Diverged) as raised:
        check_loss(grown, [*other, *first])
    assert (raised.value.found.iteration, raised.value.found.loss) == (10, 2.01 * LARGEST_GROWTH)


def test_an_outer_place_fills_only_what_is_not_known() -> None:
    line = r"^x \(step 3, iteration 2, loss 0\.5\): y$"
    with pytest.raises(Diverged, match=line) as raised, diverging_at(step=4), diverging_at(step=3, loss=0.5):
        raise Diverged(Divergence("x", "y", iteration=2))
    assert raised.value.found == Divergence("x", "y", 3, 2, 0.5)
