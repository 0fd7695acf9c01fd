"""SMM: differences of spatial marginal means of features (arXiv 2311.17009), on a video transformer."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.methods.base import Job, sampling_passes
from fastvmt.methods.guided import BlockGuided
from fastvmt.motion.smm import marginal_mean, smm_loss
from fastvmt.schedule import seeded_noise
from fastvmt.settings import check
from fastvmt.tuning.inversion import inverted_path
from fastvmt.types import PassCounter

REFERENCES = ("matched", "clean", "rf_inversion")
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


class SMM(BlockGuided):
    """Match how the mean feature of the frames changes from every frame to every other.

    ``ref``: the reference is read ``matched``, noised to the current level, or ``clean``, both with the
    null text, or as ``rf_inversion`` leads to that level with the reference's caption (the paper's way;
    as many whole passes as there are steps, once per reference, caption and schedule).
    ``init``: ``noise`` starts as other methods do; ``highfreq`` takes the low spatial frequencies of
    the start from the reference at the first level, inverted or noised with its own seed, the others
    from the start noise. At ``sampler.strength=1`` noising leaves nothing of the reference.
    ``restart``: what a step has denoised is noised to the step's level again and denoised once more,
    without guidance. Not in the first step, whatever the start: of what pure noise became nothing would be left.
    """

    name = "smm"
    stops_after = 1

    def __init__(
        self,
        *,
        ref: str,
        init: str,
        restart: bool,
        block: int,
        reference_seed: int,
        fraction: float,
        iterations: int,
        lr: float,
        lr_end: float,
    ) -> None:
        super().__init__(block=block, fraction=fraction, iterations=iterations, lr=lr, lr_end=lr_end)
        check(ref in REFERENCES, "method.ref", ref, f"one of {', '.join(REFERENCES)}")
        check(init in ("highfreq", "noise"), "method.init", init, "highfreq or noise")
        self.ref, self.init, self.restart, self.reference_seed = ref, init, restart, reference_seed

    def budget(self, layout: Layout, steps: int, cfg_scale: float) -> PassCounter:
        passes = super().budget(layout, steps, cfg_scale)
        if self.restart:
            passes.block_forwards += sampling_passes(layout, steps - 1, cfg_scale)
        return passes

    def start(self, job: Job, noise: Tensor) -> Tensor:
        if self.init == "noise":
            return super().start(job, noise)
        inverted = self.ref == "rf_inversion"
        noisy = self.inverted(job)["start"] if inverted else job.noised_reference(job.sigmas[0], self.reference_seed)
        return low_frequencies(noisy) + noise - low_frequencies(noise)

    def inverted(self, job: Job) -> dict[str, Tensor]:
        """By inversion: the latents at the first level, and the means (G, F, E) at every guided one; cached on disk."""
        caption = job.case.reference_prompt if job.case else ""

        def compute() -> dict[str, Tensor]:
            text = job.backbone.embed(caption)
            path = list(inverted_path(job.backbone, job.reference, job.sigmas, text))[::-1]
            guided = zip(path[: self.guided(len(job.sigmas) - 1)], job.sigmas, strict=False)
            means = [marginal_mean(job.backbone.hidden(x, sigma, text, self.block)) for x, sigma in guided]
            return {"start": path[0], "mean": torch.stack(means) if means else path[0].new_zeros(0)}

        return job.stored(
            compute, kind="smm", sigmas=job.sigmas, block=self.block, share=self.fraction, caption=caption
        )

    def reference_mean(self, job: Job, step: int, sigma: float) -> Tensor:
        """(F, E) the reference's marginal means, cached on disk."""
        if self.ref == "rf_inversion":
            return self.inverted(job)["mean"][step]
        level = sigma if self.ref == "matched" else 0.0

        def compute() -> dict[str, Tensor]:
            noisy = job.noised_reference(level, self.reference_seed)
            return {"mean": marginal_mean(job.backbone.hidden(noisy, level, job.null_text, self.block))}

        kept = job.stored(compute, kind="smm", sigma=round(level, 6), block=self.block, seed=self.reference_seed)
        return kept["mean"]

    def objective(self, job: Job, step: int, latents: Tensor, sigma: float) -> Callable[[Tensor], Tensor]:
        reference = self.reference_mean(job, step, sigma)
        return lambda x: smm_loss(marginal_mean(job.backbone.hidden(x, sigma, job.text, self.block)), reference)

    def velocity(self, job: Job, step: int, latents: Tensor, sigma: float) -> Tensor:
        """With ``restart`` the one whose Euler step ends where the repeated step does."""
        first = super().velocity(job, step, latents, sigma)
        if not self.restart or step == 0:
            return first
        assert job.case is not None
        following = job.sigmas[step + 1]
        noise = seeded_noise(tuple(latents.shape), job.case.seed + 1_000_003 * step, latents.device)
        again = noised_again(latents + (following - sigma) * first, noise, following, sigma)
        return super().velocity(job, step, again, sigma) + (again - latents) / (following - sigma)
