"""FastVMT: windowed attention motion flow with gradient reuse (arXiv 2602.05551), in its correct form."""

from __future__ import annotations

import logging
from dataclasses import asdict

import torch
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.guidance.optimize import guided_steps, optimise
from fastvmt.methods.base import Job, Method, sampling_passes
from fastvmt.methods.reading import read_motion
from fastvmt.motion.losses import amf_loss, window_loss
from fastvmt.motion.pairs import frame_pairs, pair_weights
from fastvmt.settings import Guidance, Skip, Window
from fastvmt.types import MotionField, Pairs, PassCounter

log = logging.getLogger(__name__)


class FastVMT(Method):
    """Before each of the first denoising steps, optimise the latents so that their motion matches."""

    name = "fastvmt"
    latent_dtype = torch.float32
    """Precision of the latents while they are optimised."""

    def __init__(self, window: Window, skip: Skip, guidance: Guidance) -> None:
        self.window, self.skip, self.guidance = window, skip, guidance

    def requirements(self, layout: Layout) -> None:
        block, frames = self.guidance.block, layout.grid[0]
        if block >= layout.depth:
            raise ValueError(f"guidance.block={block} does not exist: {layout.name} has blocks 0..{layout.depth - 1}")
        if self.window.sf >= frames:
            raise ValueError(
                f"window.sf={self.window.sf} must be below the {frames} latent frames of {layout.name}: "
                f"set window.sf to 1..{frames - 1} or raise backbone.frames"
            )
        tile, grid = tuple(self.window.tile), layout.grid[1:]
        if tile[0] > grid[0] or tile[1] > grid[1]:
            raise ValueError(
                f"window.tile={list(tile)} is larger than the {grid[0]} x {grid[1]} tokens of a frame of {layout.name}"
            )
        if self.window.l >= max(grid):
            log.warning("window.l=%d covers all %d x %d tokens of a frame: dense flow", self.window.l, *grid)
        if self.skip.delta > self.guidance.iterations:
            raise ValueError(
                f"skip.delta={self.skip.delta} must be at most guidance.iterations={self.guidance.iterations}: "
                "gradients are reused within a denoising step only"
            )

    def inner_iterations(self, steps: int) -> int:
        return guided_steps(steps, self.guidance.fraction) * self.guidance.iterations

    def budget(self, layout: Layout, steps: int, cfg_scale: float) -> PassCounter:
        gradients = guided_steps(steps, self.guidance.fraction) * -(-self.guidance.iterations // self.skip.delta)
        blocks = gradients * self.guidance.block
        return PassCounter(sampling_passes(layout, steps, cfg_scale) + blocks, blocks, gradients)

    def pairs(self, frames: int) -> Pairs:
        """The pairs of latent frames between which the flow is read."""
        return frame_pairs(frames, self.window.sf)

    def read(self, job: Job, latents: Tensor, sigma: float, text: Tensor) -> tuple[MotionField, Tensor | None]:
        """The motion field of latents at a noise level, and the windows' mean keys where a loss needs them."""
        return read_motion(job.backbone, latents, sigma, text, self.guidance, self.window)

    def objective(self, generated: MotionField, mean_keys: Tensor | None, reference: MotionField) -> Tensor:
        """The weighted sum of both losses."""
        g = self.guidance
        weight_P = pair_weights(reference.pairs, self.window.sf, g.alpha, reference.flow_PS2.device)
        value = g.amf_weight * amf_loss(generated, reference, weight_P)
        if mean_keys is not None:
            value = value + g.window_weight * window_loss(mean_keys, generated.pairs)
        return value

    def noised_reference(self, job: Job, sigma: float) -> Tensor:
        """The reference's latents at a noise level."""
        return job.noised_reference(sigma, self.guidance.reference_seed)

    def reference_settings(self, job: Job, sigma: float) -> dict[str, object]:
        """Everything beside reference and model that the reference's motion field depends on."""
        g = self.guidance
        return {
            "sigma": round(sigma, 6),
            "block": g.block,
            "rope": g.rope,
            "heads": g.head_reduce.value,
            "seed": g.reference_seed,
            "window": asdict(self.window),
        }

    def reference_motion(self, job: Job, sigma: float) -> MotionField:
        """The reference's motion field at a noise level: null text, fixed noise, cached on disk."""

        def compute() -> dict[str, Tensor]:
            field, _ = self.read(job, self.noised_reference(job, sigma), sigma, job.null_text)
            return {"flow": field.flow_PS2}

        stored = job.stored(compute, kind=FastVMT.name, **self.reference_settings(job, sigma))
        grid = job.backbone.layout.grid
        return MotionField(stored["flow"], self.pairs(grid[0]), grid)

    def before_step(self, job: Job, step: int, latents: Tensor, sigma: float) -> Tensor:
        g = self.guidance
        if step >= guided_steps(len(job.sigmas) - 1, g.fraction):
            return latents
        reference = self.reference_motion(job, min(sigma, g.reference_noise))

        def loss(x: Tensor) -> Tensor:
            return self.objective(*self.read(job, x, sigma, job.text), reference)

        with job.watch.stage("guide"):
            return optimise(
                latents,
                loss,
                iterations=g.iterations,
                lr=g.lr,
                lr_end=g.lr_end,
                delta=self.skip.delta,
                weight_decay=g.weight_decay,
                dtype=self.latent_dtype,
                on_iteration=lambda row: job.record({"step": step, "sigma": sigma} | row),
            )
