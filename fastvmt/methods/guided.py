"""What the methods share that optimise something before each of the first denoising steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.guidance.optimize import guided_steps, learning_rate, optimise
from fastvmt.methods.base import Job, Method, sampling_passes
from fastvmt.settings import check
from fastvmt.types import PassCounter


def check_block(block: int, layout: Layout) -> None:
    """Raise ``ValueError`` when the backbone has no such block."""
    if block >= layout.depth:
        raise ValueError(
            f"method.block={block} does not exist: {layout.name} has blocks 0..{layout.depth - 1}. "
            "It follows guidance.block; set that or method.block"
        )


def check_frames(layout: Layout) -> None:
    """Raise ``ValueError`` when a clip has a single latent frame, and therefore no motion."""
    if layout.grid[0] < 2:
        needed = (2 * layout.patch[0] - 1) * layout.temporal_factor + 1
        raise ValueError(
            f"backbone.frames={layout.frames} gives {layout.grid[0]} latent frame(s) of {layout.name}: "
            f"motion needs at least two, set backbone.frames={needed} or more"
        )


class Guided(Method):
    """Before each of the first steps: a fresh Adam whose rate is constant within a step and linear over them."""

    def __init__(self, *, fraction: float, iterations: int, lr: float, lr_end: float) -> None:
        check(0 <= fraction <= 1, "method.fraction", fraction, "in [0, 1]")
        check(iterations >= 1, "method.iterations", iterations, "at least 1")
        check(lr > 0, "method.lr", lr, "above 0")
        check(lr_end > 0, "method.lr_end", lr_end, "above 0")
        self.fraction, self.iterations, self.lr, self.lr_end = fraction, iterations, lr, lr_end

    def requirements(self, layout: Layout) -> None:
        check_frames(layout)

    def guided(self, steps: int) -> int:
        """How many of the denoising steps are guided: the first ones."""
        return guided_steps(steps, self.fraction)

    def inner_iterations(self, steps: int) -> int:
        return self.guided(steps) * self.iterations

    def optimise(self, job: Job, step: int, start: Tensor, sigma: float, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """``start`` after this step's Adam iterations on ``loss``."""
        rate = learning_rate(step, self.guided(len(job.sigmas) - 1), self.lr, self.lr_end)
        with job.watch.stage("guide"):
            return optimise(
                start,
                loss,
                iterations=self.iterations,
                lr=rate,
                lr_end=rate,
                delta=1,
                advice="lower method.lr",
                on_iteration=lambda row: job.record({"step": step, "sigma": sigma} | row),
            )

    def before_step(self, job: Job, step: int, latents: Tensor, sigma: float) -> Tensor:
        if step >= self.guided(len(job.sigmas) - 1):
            return latents
        return self.optimise(job, step, latents, sigma, self.objective(job, step, latents, sigma))

    @abstractmethod
    def objective(self, job: Job, step: int, latents: Tensor, sigma: float) -> Callable[[Tensor], Tensor]:
        """The loss of latents at a guided step; ``latents`` are those before the optimisation."""


class BlockGuided(Guided):
    """Guided through what one block of the transformer computes."""

    stops_after = 0
    """Blocks, from ``block`` on, that a reading has to run: 0 reads the block's input, 1 its output."""

    def __init__(self, *, block: int, fraction: float, iterations: int, lr: float, lr_end: float) -> None:
        super().__init__(fraction=fraction, iterations=iterations, lr=lr, lr_end=lr_end)
        check(block >= 0, "method.block", block, "at least 0")
        self.block = block

    def requirements(self, layout: Layout) -> None:
        super().requirements(layout)
        check_block(self.block, layout)

    def budget(self, layout: Layout, steps: int, cfg_scale: float) -> PassCounter:
        gradients = self.inner_iterations(steps)
        blocks = gradients * (self.block + self.stops_after)
        return PassCounter(sampling_passes(layout, steps, cfg_scale) + blocks, blocks, gradients)
