"""The inner optimisation of one guided denoising step: its numbers, and AdamW on a tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastvmt.divergence import FEATURES, Diverged, Divergence, rms
from fastvmt.guidance.gradient import Gradient, GradientLog
from fastvmt.guidance.reuse import GradientReuse
from fastvmt.settings import LARGEST_COUNT, Predict, check_optimisation, check_range


def guided_steps(steps: int, fraction: float) -> int:
    """How many of the first of ``steps`` denoising steps are guided: ``fraction`` of them, halves rounded up."""
    return int(math.floor(steps * fraction + 0.5))


@dataclass(frozen=True)
class Optimisation:
    """Which denoising steps are guided, and what AdamW does in each of them.

    Raises ``ValueError`` for a number out of its range, naming the key: ``<group>.<name>``, or ``skip.delta``.
    """

    fraction: float
    """Guided share of the denoising steps, the first ones, in [0, 1]."""
    iterations: int
    """Inner iterations J of a guided step."""
    lr: float
    """Learning rate of the first iteration, or of the first guided step."""
    lr_end: float
    """What the rate approaches, linearly."""
    delta: int = 1
    """Every ``delta``-th gradient is computed, the others are replayed; at most J."""
    predict: Predict = Predict.hold
    """What is replayed: the last gradient, or the line through the last two."""
    weight_decay: float = 0.0
    group: str = "method"
    """Group of the configuration that the numbers come from."""

    def __post_init__(self) -> None:
        check_optimisation(
            self.group,
            iterations=self.iterations,
            weight_decay=self.weight_decay,
            fraction=self.fraction,
            lr=self.lr,
            lr_end=self.lr_end,
        )
        check_range("skip.delta", self.delta, 1, LARGEST_COUNT)
        if self.delta > self.iterations:
            raise ValueError(
                f"skip.delta={self.delta} must be at most {self.group}.iterations={self.iterations}: "
                "gradients are reused within a denoising step only"
            )
        if self.predict is Predict.linear and self.gradients < 2:
            raise ValueError(
                "skip.predict=linear draws a line through two gradients of a denoising step, but "
                f"skip.delta={self.delta} computes one in {self.group}.iterations={self.iterations}: set skip.delta "
                "lower or skip.predict=hold"
            )

    def guided(self, steps: int) -> int:
        """How many of the first of ``steps`` denoising steps are guided."""
        return guided_steps(steps, self.fraction)

    @property
    def gradients(self) -> int:
        """Gradients that a guided step computes: J / delta, rounded up."""
        return -(-self.iterations // self.delta)

    def rates_within_step(self) -> list[float]:
        """The rate of every iteration, the same in all guided steps: lr_j = lr + (lr_end - lr) j / J (FastVMT)."""
        return [self.lr + (self.lr_end - self.lr) * j / self.iterations for j in range(self.iterations)]

    def rates_over_steps(self, i: int, steps: int) -> list[float]:
        """The rate of every iteration of step ``i``, constant within it: lr + (lr_end - lr) i / guided (DiTFlow)."""
        rate = self.lr + (self.lr_end - self.lr) * i / self.guided(steps)
        return [rate] * self.iterations


def _not_finite(row: Mapping[str, float], start: Tensor, group: str) -> Divergence:
    """What to say of the first row of a trace whose loss or gradient is not finite."""
    loss = row["loss"]
    iteration = int(row["iteration"])
    what = "the gradient of the motion loss" if math.isfinite(loss) else "the motion loss (of the features it reads)"
    cause = f"{FEATURES}; after the first iteration or step lower {group}.lr"
    return Divergence(f"{what} is not finite", cause, iteration=iteration, loss=loss, norm=rms(start))


def optimise(
    start: Tensor,
    gradient: Callable[[Tensor], Gradient],
    settings: Optimisation,
    rates: Sequence[float],
    *,
    dtype: torch.dtype = torch.float32,
    log: GradientLog | None = None,
    on_iteration: Callable[[dict[str, float]], None] | None = None,
) -> Tensor:
    """Follow ``gradient`` from ``start`` with a fresh AdamW, one iteration per rate; every ``delta``-th one is real.

    The tensor, its moments and the result are ``dtype``: float32, unless the rounding of lower precision is itself
    of interest. The moments keep advancing on replayed gradients. After the last iteration ``on_iteration`` is told
    of each, with what ``log`` makes of its gradient; before that nothing waits for the device. Raises
    :class:`fastvmt.divergence.Diverged` when a loss or gradient is not finite, saying what to lower. Returns a new
    tensor; ``start`` is untouched.
    """
    x = start.detach().to(dtype, copy=True).requires_grad_(True)
    optimizer = torch.optim.AdamW([x], lr=rates[0], weight_decay=settings.weight_decay)
    reuse = GradientReuse(settings.delta, settings.predict)
    log = log or GradientLog()
    for iteration, rate in enumerate(rates):
        computed, used, reused = reuse(iteration, lambda: gradient(x))
        log.add(iteration, computed, used, reused)
        optimizer.param_groups[0]["lr"] = rate
        x.grad = used.clone()
        optimizer.step()
    for row in log.read():
        if not math.isfinite(row["grad_norm"] + row["loss"]):
            raise Diverged(_not_finite(row, start, settings.group))
        if on_iteration is not None:
            on_iteration(row)
    return x.detach()
