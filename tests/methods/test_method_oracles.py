"""The losses of DiTFlow, MOFT and SMM written out from what blocks compute, with another text in every role."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from fastvmt.backbones.wan import WanBackbone
from fastvmt.methods.guided import BlockGuided
from fastvmt.methods.job import Job
from fastvmt.schedule import add_noise, seeded_noise
from fastvmt.types import TransferCase
from helpers.methods import method_of
from helpers.transfers import distinct_job

PLACES_S2 = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0))
"""(row, column) of a frame's tokens."""


def generated(job: Job) -> Tensor:
    """Latents that have nothing to do with the reference."""
    return seeded_noise(tuple(job.reference.shape), 2, job.reference.device)


def hidden(backbone: WanBackbone, latents: Tensor, sigma: float, text: Tensor) -> Tensor:
    """(F, S, E) what block 1 gives in a whole forward."""
    kept: list[Tensor] = []
    hook = backbone.transformer.blocks[1].register_forward_hook(lambda _module, _input, out: kept.append(out))
    backbone.velocity(latents, sigma, text)
    hook.remove()
    return kept[0][0].unflatten(0, (5, -1))


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1) / (a.square().sum(-1) * b.square().sum(-1)).sqrt()


def assert_first_iteration(
    method: BlockGuided, job: Job, loss: Callable[[Tensor], Tensor], context=nullcontext
) -> None:
    """The second guided step begins with the loss and the gradient of ``loss``, taken within ``context()``."""
    x = generated(job).requires_grad_(True)
    with context():
        value = loss(x)
        (gradient,) = torch.autograd.grad(value, x)
    moved = method.guide(job, 1, x.detach(), job.sigmas[1]) - x.detach()
    (row,) = job.trace
    assert row["loss"] == pytest.approx(float(value.detach()), rel=1e-5)
    assert row["grad_norm"] == pytest.approx(float(gradient.norm()), rel=1e-4)
    clear = gradient.abs() > 1e-3 * gradient.abs().max()
    assert clear.float().mean() > 0.5
    assert torch.equal(moved[clear].sign(), -gradient[clear].sign())


def displacement(
    backbone: WanBackbone, latents: Tensor, sigma: float, text: Tensor, rope: bool, temperature: float | None
) -> Tensor:
    """(F, F, S, 2) where a token's attention goes, less its own place; without temperature, to its best key."""
    q, k = backbone.query_key(latents, sigma, text, 1, rope)
    heads = [q[:, :, n].flatten(0, 1) @ k[:, :, n].flatten(0, 1).T / 24**0.5 for n in range(2)]
    logits = ((heads[0] + heads[1]) / 2).unflatten(0, (5, 36)).unflatten(2, (5, 36)).transpose(1, 2)
    if temperature is None:
        return PLACES_S2[logits.argmax(-1)] - PLACES_S2
    return (temperature * logits).softmax(-1) @ PLACES_S2 - PLACES_S2


@pytest.mark.parametrize("inject", [False, True])
@pytest.mark.parametrize(("kind", "rope"), [("expectation", True), ("argmax", True), ("argmax", False)])
def test_ditflow_by_hand(backbone: WanBackbone, case: TransferCase, kind: str, rope: bool, inject: bool) -> None:
    """Clean reference with the null text, generated with the prompt; of the injected keys of block 0 no text is a part.

    Without rotation some of this reference's tokens have their best key where they are: these do not count.
    """
    settings = [f"displacement={kind}", f"rope={rope}", "temperature=3.0", f"inject={inject}", "iterations=1"]
    job, method = distinct_job(backbone, case), method_of("ditflow", *settings)
    sigma, sharpness = job.sigmas[1], None if kind == "argmax" else 3.0
    with torch.no_grad():
        reference = displacement(backbone, job.reference, 0.0, job.null_text, rope, sharpness)
    moves = (reference != 0).any(-1)
    assert bool(moves.all()) == rope

    def loss(x: Tensor) -> Tensor:
        return (displacement(backbone, x, sigma, job.text, rope, 3.0) - reference)[moves].square().mean()

    noisy = add_noise(job.reference, job.noise, sigma)
    given = (lambda: backbone.keys_and_values_of(noisy, sigma, job.text)) if inject else nullcontext
    assert_first_iteration(method, job, loss, given)


@pytest.mark.parametrize(("reference_noise", "level"), [(0.0, 0.0), (0.5, 0.5), (1.0, 0.9)])
def test_moft_by_hand(backbone: WanBackbone, case: TransferCase, reference_noise: float, level: float) -> None:
    """Singular vectors of the centred reference instead of eigenvectors; the second level is 0.9."""
    method = method_of("moft", "share=0.25", f"reference_noise={reference_noise}", "iterations=1")
    job = distinct_job(backbone, case)
    sigma = job.sigmas[1]
    assert sigma == pytest.approx(0.9)

    def centred(latents: Tensor, at: float, text: Tensor) -> Tensor:
        features = hidden(backbone, latents, at, text)
        return features - sum(features) / 5

    with torch.no_grad():
        reference = centred(job.noised_reference(level, method.reference_seed), level, job.null_text)
    vectors = torch.linalg.svd(reference.flatten(0, 1).double(), full_matrices=False).Vh
    channels = vectors[0].abs().argsort(descending=True)[:12]  # of 48
    assert_first_iteration(
        method, job, lambda x: (1 - cosine(centred(x, sigma, job.text)[..., channels], reference[..., channels])).mean()
    )


@pytest.mark.parametrize("ref", ["matched", "clean"])
def test_smm_by_hand(backbone: WanBackbone, case: TransferCase, ref: str) -> None:
    method, job = method_of("smm", f"ref={ref}", "iterations=1"), distinct_job(backbone, case)
    sigma = job.sigmas[1]
    level = sigma if ref == "matched" else 0.0

    def changes(latents: Tensor, at: float, text: Tensor) -> Tensor:
        means = hidden(backbone, latents, at, text).mean(1)
        return torch.stack([means[t] - means[i] for i in range(5) for t in range(5) if t != i])

    with torch.no_grad():
        reference = changes(job.noised_reference(level, method.reference_seed), level, job.null_text)
    assert_first_iteration(method, job, lambda x: (1 - cosine(changes(x, sigma, job.text), reference)).mean())
