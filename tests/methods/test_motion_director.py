"""MotionDirector's spatial and temporal paths: which adapters act when, and the losses by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from fastvmt.backbones.wan import WanBackbone
from fastvmt.methods.motion_director import SPATIAL, TEMPORAL
from fastvmt.schedule import seeded_noise
from fastvmt.tuning.draw import Draw
from fastvmt.tuning.loop import tune
from fastvmt.types import TransferCase, Video
from helpers.methods import TUNING, director
from helpers.transfers import captioned_case, job_for


@pytest.fixture(scope="session")
def case() -> TransferCase:
    return captioned_case()


def sets_at(layer: nn.Module) -> int:
    """How many LoRA sets act on a linear layer, one wrapped in the other."""
    return 1 + sets_at(layer.base_layer) if isinstance(layer, LoraLayer) else 0


def test_motion_director_takes_apart_its_two_paths(backbone: WanBackbone, case: TransferCase) -> None:
    job = job_for(backbone, case)
    seen: list[tuple[int, float, bool]] = []
    plain = backbone.velocity

    def watched(latents: Tensor, sigma: float, text: Tensor) -> Tensor:
        seen.append((latents.shape[2], sigma, sets_at(backbone.blocks[0].attention.to_q)))
        return plain(latents, sigma, text)

    method = director(replace(TUNING, iterations=12), dropout=0.0)
    adapters = method.adapters(job)
    start = {group: adapter.tensors() for group, adapter in adapters.items()}
    backbone.velocity = watched
    try:
        tune(backbone, adapters, method.losses(job, adapters), method.tuning)
    finally:
        del backbone.velocity
    expected = []
    for choices in method.tuning.draws():  # frames, level, adapters in place
        expected += [(5, choices.sigma, 1)] if method.skips(choices) else [(1, choices.sigma, 1), (5, choices.sigma, 2)]
    assert seen == expected
    assert {method.skips(choices) for choices in method.tuning.draws()} == {True, False}
    assert all(not torch.equal(v, start[g][n]) for g, a in adapters.items() for n, v in a.tensors().items())
    always = director(skip_spatial=1.0)
    adapters = always.adapters(job)
    tune(backbone, adapters, always.losses(job, adapters), always.tuning)
    names = adapters[SPATIAL].tensors()
    assert all(torch.equal(value, start[SPATIAL][name]) for name, value in names.items())


def test_losses_of_motion_director_by_hand(backbone: WanBackbone, case: TransferCase) -> None:
    job, text = job_for(backbone, case), backbone.embed(case.reference_prompt)
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
            losses = method.losses(job, method.adapters(job))
            (first, a), (second, b) = list(losses(choices))
            assert (first, second) == (SPATIAL, TEMPORAL)
            torch.testing.assert_close(torch.stack([a, b]), weight * torch.stack([spatial, temporal]))


def test_a_frame_is_encoded_as_an_image(backbone: WanBackbone, case: TransferCase) -> None:
    """The autoencoder is causal: the clip's first latent frame is that of its first picture."""
    frames = case.reference.frames_THWC
    image = backbone.encode(Video(frames[:1], 8.0))
    assert image.shape[2] == 1
    torch.testing.assert_close(image, backbone.encode(case.reference)[:, :, :1], atol=1e-5, rtol=1e-4)
