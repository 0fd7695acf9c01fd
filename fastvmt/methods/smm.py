"""SMM: differences of spatial marginal means of features (arXiv 2311.17009), on a video transformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.methods.base import sampling_passes
from fastvmt.methods.guided import BlockGuided, OwnNumbers
from fastvmt.methods.job import Job
from fastvmt.motion.smm import marginal_mean, smm_loss
from fastvmt.sampling import euler_step
from fastvmt.schedule import seeded_noise
from fastvmt.settings import Sampler, check_choice, check_seed
from fastvmt.tuning.inversion import inverted_path
from fastvmt.types import PassCounter

LOW_FREQUENCY = 4
"""Frames are reduced by this factor to find their low frequencies."""


def low_frequencies(latents_BCFHW: Tensor) -> Tensor:
    """Each frame reduced and enlarged again, bilinear with antialiasing."""
    frames = latents_BCFHW.transpose(1, 2).flatten(0, 1)
    height, width = (max(1, side // LOW_FREQUENCY) for side in frames.shape[-2:])
    small = F.interpolate(frames, (height, width), mode="bilinear", antialias=True)
    large = F.interpolate(small, frames.shape[-2:], mode="bilinear", antialias=True)
    return torch.unflatten(large, 0, (latents_BCFHW.shape[0], -1)).transpose(1, 2)


def noised_again(latents: Tensor, noise: Tensor, sigma: float, higher: float) -> Tensor:
    """Latents at level ``sigma`` taken to a ``higher`` one: shares 1 - higher of the clean ones, higher of noise."""
    kept = (1 - higher) / (1 - sigma)
    return kept * latents + sqrt(higher**2 - (kept * sigma) ** 2) * noise


@dataclass(kw_only=True)
class SMM(BlockGuided, OwnNumbers):
    """Match how the mean feature of the frames changes from every frame to every other.

    ``ref``: the reference is read ``matched``, noised to the current level, or ``clean``, both with the
    null text, or as ``rf_inversion`` leads to that level with the reference's caption (the authors invert by DDIM;
    as many whole passes as there are steps, once per reference, caption and schedule).
    ``init``: ``noise`` starts as other methods do; ``highfreq`` takes the low spatial frequencies of
    the start from the reference at the first level, inverted or noised with its own seed, the others
    from the start noise. At ``sampler.strength=1`` noising leaves nothing of the reference.
    ``restart``: what a step has denoised is noised to the step's level again and denoised once more,
    without guidance. Not in the first step, whatever the start: of what pure noise became nothing would be left.
    Departures from the authors' code: ``highfreq`` resizes without aligned corners, there with
    them, and ``restart`` repeats all steps but the first, there all but the last.
    """

    name = "smm"
    stops_after = 1

    block: int
    ref: str
    init: str
    restart: bool
    reference_seed: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("method.ref", self.ref, ("matched", "clean", "rf_inversion"))
        check_choice("method.init", self.init, ("highfreq", "noise"))
        check_seed("method.reference_seed", self.reference_seed)
        self.repeats = "method.restart=true" if self.restart else None
        self.noisiest = 0.0 if self.ref == "clean" else 1.0

    def budget(self, layout: Layout, sampler: Sampler) -> PassCounter:
        passes = super().budget(layout, sampler)
        if self.restart:
            passes.block_forwards += sampling_passes(layout, sampler, range(1, sampler.steps))
        return passes

    def readings(self, layout: Layout, sigmas: Sequence[float]) -> int:
        steps = len(sigmas) - 1
        inverts = self.ref == "rf_inversion" and (self.init == "highfreq" or self.optimised_steps(steps) > 0)
        return super().readings(layout, sigmas) + (layout.depth * steps if inverts else 0)

    def start(self, job: Job) -> Tensor:
        if self.init == "noise":
            return super().start(job)
        if self.ref == "rf_inversion":
            noisy = self.inverted(job)["start"]
        else:
            noisy = job.noised_reference(job.sigmas[0], self.reference_seed)
        # SMM, Eq. 4: low frequencies of the reference, the others of the noise
        return low_frequencies(noisy) + job.noise - low_frequencies(job.noise)

    def inverted(self, job: Job) -> dict[str, Tensor]:
        """By inversion: the latents at the first level, and the means (G, F, E) at every guided one; cached on disk."""
        caption = job.caption

        def compute() -> dict[str, Tensor]:
            path = list(inverted_path(job.backbone, job.reference, job.sigmas, caption))[::-1]
            guided = zip(path[: self.optimisation.guided(job.steps)], job.sigmas, strict=False)
            means = [marginal_mean(job.backbone.hidden(x, sigma, caption, self.block)) for x, sigma in guided]
            return {"start": path[0], "mean": torch.stack(means) if means else path[0].new_zeros(0)}

        return job.stored(
            compute,
            kind="smm",
            sigmas=job.sigmas,
            block=self.block,
            share=self.optimisation.fraction,
            caption=job.case.reference_prompt,
        )

    def reference_mean(self, job: Job, i: int, sigma: float) -> Tensor:
        """(F, E) the reference's marginal means, cached on disk."""
        if self.ref == "rf_inversion":
            return self.inverted(job)["mean"][i]
        level = self.read_at(sigma)

        def compute() -> dict[str, Tensor]:
            noisy = job.noised_reference(level, self.reference_seed)
            return {"mean": marginal_mean(job.backbone.hidden(noisy, level, job.null_text, self.block))}

        kept = job.stored(compute, kind="smm", sigma=round(level, 6), block=self.block, seed=self.reference_seed)
        return kept["mean"]

    def objective(self, job: Job, i: int, x: Tensor, sigma: float) -> Callable[[Tensor], Tensor]:
        reference = self.reference_mean(job, i, sigma)
        return lambda x: smm_loss(marginal_mean(job.backbone.hidden(x, sigma, job.text, self.block)), reference)

    def step(self, job: Job, i: int, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """With ``restart``, what the step ends in is noised to ``sigma`` again and denoised once more."""
        x_next = super().step(job, i, x, sigma, sigma_next)
        if not self.restart or i == 0:
            return x_next
        noise = seeded_noise(tuple(x.shape), job.case.seed + 1_000_003 * i, x.device)
        again = noised_again(x_next, noise, sigma_next, sigma)
        return euler_step(again, job.velocity(i, again, sigma), sigma, sigma_next)
