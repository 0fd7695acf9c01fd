"""What the methods share that optimise something before each of the first denoising steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.guidance.gradient import Gradient, Loss, gradient_of
from fastvmt.guidance.optimisation import Optimisation, optimise
from fastvmt.methods.base import Method, sampling_passes
from fastvmt.methods.job import Job
from fastvmt.settings import Sampler
from fastvmt.types import PassCounter


class Guided(Method, ABC):
    """Before each of the first steps: a fresh Adam whose rate is constant within a step and linear over them."""

    least_frames = 2
    """Motion is between frames."""
    latent_dtype = torch.float32
    """Precision of the latents while they are optimised."""
    optimisation: Optimisation

    @abstractmethod
    def objective(self, job: Job, i: int, x: Tensor, sigma: float) -> Loss:
        """The loss of latents at guided step ``i``, or its terms; ``x`` are those before the optimisation."""

    def gradient(self, loss: Loss) -> Callable[[Tensor], Gradient]:
        """What takes the gradient of a loss."""
        return gradient_of(loss)

    def optimised_steps(self, steps: int) -> int:
        """In how many of the first of ``steps`` denoising steps something is optimised: the guided ones."""
        return self.optimisation.guided(steps)

    def guided_steps(self, steps: int) -> int:
        return self.optimisation.guided(steps)

    def inner_iterations(self, steps: int) -> int:
        return self.optimised_steps(steps) * self.optimisation.iterations

    def rates(self, i: int, steps: int) -> list[float]:
        """The learning rate of every iteration of step ``i``."""
        return self.optimisation.rates_over_steps(i, steps)

    def optimise(self, job: Job, i: int, start: Tensor, sigma: float, loss: Loss) -> Tensor:
        """``start``, float32, after this step's iterations on ``loss``."""
        return self.follow(job, i, start, sigma, self.gradient(loss))

    def follow(self, job: Job, i: int, start: Tensor, sigma: float, gradient: Callable[[Tensor], Gradient]) -> Tensor:
        """``start``, float32, after this step's iterations along ``gradient``."""
        with job.watch.stage("guide"):
            return optimise(
                start,
                gradient,
                self.optimisation,
                self.rates(i, job.steps),
                dtype=self.latent_dtype,
                log=job.gradients,
                on_iteration=lambda row: job.record({"step": i, "sigma": sigma} | row),
            ).float()

    def guide(self, job: Job, i: int, x: Tensor, sigma: float) -> Tensor:
        """The latents that step ``i`` denoises: optimised in the first steps, ``x`` itself afterwards."""
        if i >= self.optimised_steps(job.steps):
            return x
        return self.optimise(job, i, x, sigma, self.objective(job, i, x, sigma))

    def step(self, job: Job, i: int, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        return super().step(job, i, self.guide(job, i, x, sigma), sigma, sigma_next)


@dataclass(kw_only=True)
class OwnNumbers(Guided):
    """Guided by numbers of the group ``method``; subclasses are dataclasses whose fields are their keys there."""

    fraction: float
    iterations: int
    lr: float
    lr_end: float

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a number out of its range, naming the key."""
        self.optimisation = Optimisation(self.fraction, self.iterations, self.lr, self.lr_end)


class BlockGuided(Guided):
    """Guided through what one block of the transformer computes."""

    stops_after = 0
    """Blocks, from ``block`` on, that a reading has to run: 0 reads the block's input, 1 its output."""
    noisiest = 0.0
    """The highest noise level at which the reference is read; 0: clean, once for all steps."""
    block: int

    def requirements(self, layout: Layout) -> None:
        super().requirements(layout)
        layout.check_block(self.block, f"{self.optimisation.group}.block")

    def budget(self, layout: Layout, sampler: Sampler) -> PassCounter:
        gradients = self.optimised_steps(sampler.steps) * self.optimisation.gradients
        blocks = gradients * (self.block + self.stops_after)
        return PassCounter(sampling_passes(layout, sampler) + blocks, blocks, gradients)

    def read_at(self, sigma: float) -> float:
        """The noise level at which a step at ``sigma`` reads the reference."""
        return min(sigma, self.noisiest)

    def readings(self, layout: Layout, sigmas: Sequence[float]) -> int:
        guided = sigmas[: self.optimised_steps(len(sigmas) - 1)]
        return (self.block + self.stops_after) * len({round(self.read_at(sigma), 6) for sigma in guided})
