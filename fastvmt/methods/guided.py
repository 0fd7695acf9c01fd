"""What the methods share that optimise something before each of the first denoising steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.guidance.optimisation import Optimisation, optimise
from fastvmt.methods.base import Method, sampling_passes
from fastvmt.methods.job import Job
from fastvmt.settings import check
from fastvmt.types import PassCounter


class Guided(Method):
    """Before each of the first steps: a fresh Adam whose rate is constant within a step and linear over them."""

    least_frames = 2
    """Motion is between frames."""
    latent_dtype = torch.float32
    """Precision of the latents while they are optimised."""

    def __init__(self, optimisation: Optimisation) -> None:
        self.optimisation = optimisation

    @abstractmethod
    def objective(self, job: Job, i: int, x: Tensor, sigma: float) -> Callable[[Tensor], Tensor]:
        """The loss of latents at guided step ``i``; ``x`` are those before the optimisation."""

    def optimised_steps(self, steps: int) -> int:
        """In how many of the first of ``steps`` denoising steps something is optimised: the guided ones."""
        return self.optimisation.guided(steps)

    def inner_iterations(self, steps: int) -> int:
        return self.optimised_steps(steps) * self.optimisation.iterations

    def rates(self, i: int, steps: int) -> list[float]:
        """The learning rate of every iteration of step ``i``."""
        return self.optimisation.rates_over_steps(i, steps)

    def optimise(self, job: Job, i: int, start: Tensor, sigma: float, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """``start``, float32, after this step's iterations on ``loss``."""
        with job.watch.stage("guide"):
            return optimise(
                start,
                loss,
                self.optimisation,
                self.rates(i, job.steps),
                dtype=self.latent_dtype,
                on_iteration=lambda row: job.record({"step": i, "sigma": sigma} | row),
            ).float()

    def guide(self, job: Job, i: int, x: Tensor, sigma: float) -> Tensor:
        """The latents that step ``i`` denoises: optimised in the first steps, ``x`` itself afterwards."""
        if i >= self.optimised_steps(job.steps):
            return x
        return self.optimise(job, i, x, sigma, self.objective(job, i, x, sigma))

    def step(self, job: Job, i: int, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        return super().step(job, i, self.guide(job, i, x, sigma), sigma, sigma_next)


class BlockGuided(Guided):
    """Guided through what one block of the transformer computes."""

    stops_after = 0
    """Blocks, from ``block`` on, that a reading has to run: 0 reads the block's input, 1 its output."""

    def __init__(self, block: int, optimisation: Optimisation) -> None:
        super().__init__(optimisation)
        check(block >= 0, f"{optimisation.group}.block", block, "at least 0")
        self.block = block

    def requirements(self, layout: Layout) -> None:
        super().requirements(layout)
        layout.check_block(self.block, f"{self.optimisation.group}.block")

    def budget(self, layout: Layout, steps: int, cfg_scale: float) -> PassCounter:
        gradients = self.optimised_steps(steps) * self.optimisation.gradients
        blocks = gradients * (self.block + self.stops_after)
        return PassCounter(sampling_passes(layout, steps, cfg_scale) + blocks, blocks, gradients)
