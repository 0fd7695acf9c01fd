"""MotionClone: one gradient of sparse temporal attention per step (arXiv 2406.05338), on a video transformer.

Equation numbers are those of arXiv v6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.divergence import FEATURES, Diverged, Divergence, rms
from fastvmt.guidance.optimisation import guided_steps
from fastvmt.methods.base import Method, sampling_passes
from fastvmt.methods.job import Job
from fastvmt.methods.shared_pass import shared_pass
from fastvmt.motion.motionclone import self_hits, sparse_loss, strongest, temporal_probability
from fastvmt.settings import LARGEST_WEIGHT, Sampler, check_range, check_seed
from fastvmt.types import PassCounter


def ramp(i: int, guided: int, share: float) -> float:
    """Linear warm-up over the first ``share`` of the guided steps, and cool-down over the last, in (0, 1]."""
    steps = max(1, round(guided * share))
    return min(1.0, (i + 1) / steps, (guided - i) / steps)


@dataclass(kw_only=True)
class MotionClone(Method):
    """Add the gradient of a sparse temporal-attention loss to each of the first Euler steps.

    The transformer attends over space and time at once; its attention is restricted to the same
    position of all frames and normalised again. The loss compares the reference's largest
    probability over frames with the generated one at the same frame. The gradient comes from the
    forward with the prompt that denoises anyway: x' = Euler(x) - weight ramp sigma sigma' gradient.
    The reference is noised to ``reference_noise`` once, null text.
    """

    name = "motionclone"
    least_frames = 2

    block: int
    rope: bool
    weight: float
    ramp_share: float
    exclude_self: bool
    fraction: float
    reference_noise: float
    reference_seed: int

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a number out of its range, naming the key."""
        check_range("method.weight", self.weight, 0, LARGEST_WEIGHT)
        check_range("method.ramp_share", self.ramp_share, 0, 0.5)
        check_range("method.fraction", self.fraction, 0, 1)
        check_range("method.reference_noise", self.reference_noise, 0, 1)
        check_seed("method.reference_seed", self.reference_seed)

    def requirements(self, layout: Layout) -> None:
        super().requirements(layout)
        layout.check_block(self.block, "method.block")
        if self.rope:
            layout.check_rotary("method.rope=true")

    def guided_steps(self, steps: int) -> int:
        return guided_steps(steps, self.fraction)

    def inner_iterations(self, steps: int) -> int:
        return self.guided_steps(steps)

    def budget(self, layout: Layout, sampler: Sampler) -> PassCounter:
        gradients = self.guided_steps(sampler.steps)
        return PassCounter(sampling_passes(layout, sampler), gradients * self.block, gradients)

    def readings(self, layout: Layout, sigmas: Sequence[float]) -> int:
        return self.block if self.guided_steps(len(sigmas) - 1) else 0

    def reference_attention(self, job: Job) -> tuple[Tensor, Tensor]:
        """The reference's largest probabilities and their frames, each (S, N, F, 1), cached on disk."""
        level = self.reference_noise

        def compute() -> dict[str, Tensor]:
            # MotionClone, Sec. 3.4: the reference is noised once, without an inversion
            noisy = job.noised_reference(level, self.reference_seed)
            q, k = job.backbone.query_key(noisy, level, job.null_text, self.block, self.rope)
            value, index = strongest(temporal_probability(q, k), self.exclude_self)
            return {"value": value, "index": index}

        stored = job.stored(
            compute,
            kind="motionclone",
            sigma=level,
            block=self.block,
            rope=self.rope,
            seed=self.reference_seed,
            exclude_self=self.exclude_self,
        )
        return stored["value"], stored["index"]

    def step(self, job: Job, i: int, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """The solver's step, x + (sigma' - sigma) v for Euler's, less weight ramp sigma sigma' g."""
        guided = self.guided_steps(job.steps)
        if i >= guided:
            return super().step(job, i, x, sigma, sigma_next)
        value, index = self.reference_attention(job)
        velocity, gradient = shared_pass(
            job,
            i,
            x,
            sigma,
            lambda q, k: sparse_loss(temporal_probability(q, k), value, index),
            block=self.block,
            rope=self.rope,
        )
        job.gradients.add(0, gradient, gradient.value, reused=False)
        (row,) = job.gradients.read()
        if not math.isfinite(row["grad_norm"] + row["loss"]):
            what = "the motion loss, the features that it reads or its gradient are not finite"
            cause = FEATURES if i == 0 else f"{FEATURES}, or lower method.weight"
            raise Diverged(Divergence(what, cause, iteration=0, loss=row["loss"], norm=rms(x)))
        # MotionClone, Eq. 2: the energy's gradient beside classifier-free guidance, weighted by lambda
        move = self.weight * ramp(i, guided, self.ramp_share) * sigma * sigma_next * gradient.value
        ratio = float(move.norm() / ((sigma - sigma_next) * velocity).norm())
        job.record({"step": i, "sigma": sigma} | row | {"self_hits": self_hits(index), "move_ratio": ratio})
        return job.solver.step(i, x, velocity, sigma, sigma_next) - move
