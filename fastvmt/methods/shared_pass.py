"""The shared pass: the one with the prompt, which denoises anyway, also gives a guided step its gradient."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.guidance.gradient import Gradient, Loss, gradient_at, gradient_of
from fastvmt.guidance.optimisation import Optimisation
from fastvmt.methods.base import sampling_passes
from fastvmt.methods.guided import BlockGuided
from fastvmt.methods.job import Job
from fastvmt.settings import Guidance, Predict, Sampler, Skip
from fastvmt.types import PassCounter

QueryKeyLoss = Callable[[Tensor, Tensor], Tensor | Mapping[str, Tensor]]
"""A loss, or its terms, of a block's queries and keys (F, S, N, D)."""


def shared_pass(
    job: Job,
    i: int,
    x: Tensor,
    sigma: float,
    compare: QueryKeyLoss,
    *,
    block: int,
    rope: bool,
    of_terms: bool = False,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Gradient]:
    """The velocity of step ``i`` under classifier-free guidance, and a gradient at the same latents.

    ``compare`` sees the queries and keys that the pass with the prompt computes in ``block``; ``dtype`` is that of its
    latents, for ``of_terms`` see :func:`fastvmt.guidance.gradient.gradient_at`.
    """
    told = job.solver.told(i, sigma)
    with torch.enable_grad():
        leaf = x.detach().to(dtype).requires_grad_(True)
        positive, q, k = job.backbone.tapped_velocity(leaf, told, job.text, block, rope)
        with job.watch.stage("guide"):
            gradient = gradient_at(leaf, compare(q, k), of_terms=of_terms)
    return job.classifier_free(i, x, told, positive), gradient


class QueryKeyGuided(BlockGuided):
    """Guided through queries and keys of one block, which each gradient reads in a pass of its own up to the block.

    With ``guidance.source=pass`` a guided step has one gradient, from the shared pass: all iterations replay it, and
    the solver takes the velocity from before they moved the latents.
    """

    def __init__(self, skip: Skip, guidance: Guidance) -> None:
        self.shared = guidance.source == "pass"
        if self.shared and skip.predict is Predict.linear:
            raise ValueError(
                "skip.predict=linear draws a line through two gradients of a denoising step, but guidance.source=pass "
                "has one: set skip.predict=hold or guidance.source=reading"
            )
        self.optimisation = Optimisation(
            guidance.fraction,
            guidance.iterations,
            guidance.lr,
            guidance.lr_end,
            delta=guidance.iterations if self.shared else skip.delta,
            predict=skip.predict,
            weight_decay=guidance.weight_decay,
            group="guidance",
        )
        self.block = guidance.block
        self.noisiest = guidance.reference_noise
        self.guidance = guidance

    @abstractmethod
    def comparison(self, job: Job, sigma: float) -> QueryKeyLoss:
        """What compares the latents' queries and keys with the reference at a noise level."""

    def requirements(self, layout: Layout) -> None:
        super().requirements(layout)
        if self.guidance.rope:
            layout.check_rotary("guidance.rope=true")

    def backward_passes(self, layout: Layout) -> int:
        """Backward passes of a gradient."""
        return 1

    def budget(self, layout: Layout, sampler: Sampler) -> PassCounter:
        gradients = self.optimised_steps(sampler.steps) * self.optimisation.gradients
        read = 0 if self.shared else gradients * self.block
        backwards = gradients * self.backward_passes(layout)
        return PassCounter(sampling_passes(layout, sampler) + read, backwards * self.block, backwards)

    def gradient(self, loss: Loss) -> Callable[[Tensor], Gradient]:
        return gradient_of(loss, of_terms=self.guidance.diagnostics)

    def objective(self, job: Job, i: int, x: Tensor, sigma: float) -> Loss:
        compare = self.comparison(job, sigma)
        return lambda x: compare(*self.read(job, x, sigma, job.text))

    def read(self, job: Job, latents: Tensor, sigma: float, text: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys (F, S, N, D) of latents at a noise level."""
        return job.backbone.query_key(latents, self.level(sigma), text, self.block, self.guidance.rope)

    def step(self, job: Job, i: int, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        if not self.shared or i >= self.optimised_steps(job.steps):
            return super().step(job, i, x, sigma, sigma_next)
        velocity, gradient = shared_pass(
            job,
            i,
            x,
            self.level(sigma),
            self.comparison(job, sigma),
            block=self.block,
            rope=self.guidance.rope,
            of_terms=self.guidance.diagnostics,
            dtype=self.latent_dtype,
        )
        x = self.follow(job, i, x, sigma, lambda _: gradient)
        return job.solver.step(i, x, velocity, sigma, sigma_next)
