"""What tuned methods share: adapters fitted to the reference once, stored, and installed while denoising."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.divergence import FEATURES, check_finite
from fastvmt.methods.base import Method, sampling_passes
from fastvmt.methods.job import Job
from fastvmt.schedule import add_noise, seeded_noise
from fastvmt.settings import Sampler
from fastvmt.tuning.adapter import Adapter
from fastvmt.tuning.checkpoint import TuningCheckpoint
from fastvmt.tuning.draw import Draw
from fastvmt.tuning.inversion import Inversion
from fastvmt.tuning.loop import Losses, Tuning, tune
from fastvmt.types import PassCounter


def velocity_error(job: Job, latents: Tensor, choices: Draw, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The noised latents x_sigma at the draw's level, and the error v(x_sigma) - (noise - x_0) under the caption."""
    noisy = add_noise(latents, noise, choices.sigma)
    return noisy, job.backbone.velocity(noisy, choices.sigma, job.caption) - (noise - latents)


def draw_noise(job: Job, choices: Draw) -> Tensor:
    """The noise of a tuning iteration, of a whole clip's shape."""
    return seeded_noise(tuple(job.reference.shape), choices.seed, job.reference.device)


class Tuned(Method, ABC):
    """Subclasses say which adapters, what they minimise, and which one samples.

    A reference is tuned once for all prompts and seeds: the result is stored under a key of its
    latents and caption, the weights, their precision and the settings of the tuning. Of a model with two experts the
    one in charge of high noise is tuned, at its own noise levels, and the other one samples as it is.
    """

    kept: str
    """Group of the adapter that sampling needs."""
    changes_blocks = True
    least_frames = 2

    def __init__(self, tuning: Tuning, inversion: Inversion | None = None) -> None:
        self.tuning = tuning
        self.inversion = inversion or Inversion()

    @abstractmethod
    def adapters(self, job: Job) -> dict[str, Adapter]:
        """Fresh adapters by group, which change nothing yet."""

    @abstractmethod
    def losses(self, job: Job, adapters: Mapping[str, Adapter]) -> Losses:
        """What an iteration minimises, under the reference's caption."""

    @abstractmethod
    def sampler_adapter(self, job: Job, tensors: Mapping[str, Tensor]) -> Adapter:
        """The adapter of the denoising, from stored parameters."""

    @abstractmethod
    def identity(self, job: Job) -> dict[str, object]:
        """What of the method's own settings and inputs the tuned parameters depend on."""

    def inner_iterations(self, steps: int) -> int:
        return self.tuning.iterations

    def tuning_passes(self, layout: Layout) -> PassCounter:
        """Passes of the tuning alone; by default one whole forward and backward per iteration."""
        n = self.tuning.iterations
        return PassCounter(n * layout.depth, n * layout.depth, n)

    def budget(self, layout: Layout, sampler: Sampler) -> PassCounter:
        """Passes of a transfer that finds nothing stored: tuning, inversion and plain sampling.

        With stored parameters a transfer costs the sampling alone.
        """
        passes = self.tuning_passes(layout)
        passes.block_forwards += sampling_passes(layout, sampler)
        if self.inversion.share > 0:
            passes.block_forwards += self.inversion.steps * layout.depth
        return passes

    def start(self, job: Job) -> Tensor:
        """The start noise blended with the reference's, before any adapter is in place."""
        if self.inversion.share > 0:
            job = replace(job, noise=self.inversion.blend(self.inverted(job), job.noise))
        return super().start(job)

    @contextmanager
    def prepared(self, job: Job) -> Iterator[None]:
        if not job.case.reference_prompt:
            warnings.warn(
                f"{self.name} tunes on a reference without a caption: say what it shows with reference_prompt=<text> "
                "(source_prompt in a manifest)",
                stacklevel=2,
            )
        with job.watch.stage("adapter"):  # waiting for another process that tunes the same is no denoising
            adapter = self.sampler_adapter(job, self.tuned(job))
        with adapter.installed(job.backbone.adapted_blocks):
            yield

    def tuned(self, job: Job) -> dict[str, Tensor]:
        """The stored parameters, or new ones; an interrupted tuning goes on where it was last saved.

        Another process that wants the same ones waits until they are stored.
        """
        key = job.key(job.caption, method=self.name, tuning=self.tuning.identity(), **self.identity(job))
        checkpoint = TuningCheckpoint(job.cache, f"{key}.checkpoint")

        def compute() -> dict[str, Tensor]:
            with job.watch.stage("tune"):
                adapters = self.adapters(job)
                losses = self.losses(job, adapters)
                tune(job.backbone, adapters, losses, self.tuning, kept=checkpoint, on_iteration=job.record)
            return adapters[self.kept].tensors()

        with job.cache.alone(key):
            tensors = job.cache.get(key, compute)
            job.cache.forget(checkpoint.key)
        return tensors

    @torch.no_grad()
    def inverted(self, job: Job) -> Tensor:
        """The reference's noise under the model as it was, stored."""
        caption = job.caption

        def compute() -> dict[str, Tensor]:
            noise = self.inversion.noise(job.backbone, job.reference, job.sampler.shift, caption)
            check_finite("the reference's inverted noise", noise, FEATURES)
            return {"noise": noise}

        with job.watch.stage("reference"):
            key = job.key(caption, inversion=self.inversion.steps, shift=job.sampler.shift)
            return job.cached(key, compute)["noise"]
