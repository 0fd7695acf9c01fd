"""FastVMT: windowed attention motion flow with gradient reuse (arXiv 2602.05551), in its correct form."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.cache import content_key
from fastvmt.guidance.optimize import guided_steps, optimise
from fastvmt.methods.base import Job, Method, sampling_passes
from fastvmt.methods.reading import read_motion
from fastvmt.motion.losses import amf_loss, window_loss
from fastvmt.motion.pairs import pair_weights
from fastvmt.sampling import add_noise, seeded_noise
from fastvmt.settings import Guidance, Skip, Window
from fastvmt.types import MotionField, PassCounter


class FastVMT(Method):
    """Before each of the first denoising steps, optimise the latents so that their motion matches."""

    name = "fastvmt"

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

    @torch.no_grad()
    def reference_motion(self, job: Job, sigma: float) -> MotionField:
        """The reference's motion field at a noise level: null text, fixed noise, cached on disk."""
        g, w, backbone = self.guidance, self.window, job.backbone

        def compute() -> dict[str, Tensor]:
            noise = seeded_noise(job.reference.shape, g.reference_seed, job.reference.device)
            noisy = add_noise(job.reference, noise, sigma)
            field, _ = read_motion(backbone, noisy, sigma, job.null_text, g, w)
            return {"flow": field.flow_PS2, "pairs": field.pairs_P2}

        key = content_key(
            reference=job.reference, text=job.null_text, model=backbone.fingerprint, precision=str(job.null_text.dtype),
            sigma=round(sigma, 6), block=g.block, rope=g.rope, heads=g.head_reduce.value, seed=g.reference_seed,
            window=asdict(w), grid=backbone.layout.grid,
        )  # fmt: skip
        stored = job.cache.get(key, compute)
        device = job.reference.device
        return MotionField(stored["flow"].to(device), stored["pairs"].to(device), backbone.layout.grid)

    def before_step(self, job: Job, step: int, latents: Tensor, sigma: float) -> Tensor:
        g = self.guidance
        if step >= guided_steps(len(job.sigmas) - 1, g.fraction):
            return latents
        with job.reading_reference():
            reference = self.reference_motion(job, min(sigma, g.reference_noise))
        weights = pair_weights(reference.pairs_P2, self.window.sf, g.alpha)

        def loss(x: Tensor) -> Tensor:
            field, mean_keys = read_motion(job.backbone, x, sigma, job.text, g, self.window)
            value = g.amf_weight * amf_loss(field, reference, weights)
            if mean_keys is not None and g.window_weight > 0:
                value = value + g.window_weight * window_loss(mean_keys, field.pairs_P2)
            return value

        with job.watch.stage("guide"):
            return optimise(
                latents, loss, iterations=g.iterations, lr=g.lr, lr_end=g.lr_end, delta=self.skip.delta,
                weight_decay=g.weight_decay,
                on_iteration=lambda row: job.record({"step": step, "sigma": sigma} | row),
            )  # fmt: skip
