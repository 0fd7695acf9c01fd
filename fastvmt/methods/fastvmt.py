"""FastVMT: windowed attention motion flow with gradient reuse (arXiv 2602.05551), in its correct form."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.guidance.gradient import Gradient, Loss, gradient_at, gradient_of
from fastvmt.guidance.optimisation import Optimisation
from fastvmt.methods.base import sampling_passes
from fastvmt.methods.guided import BlockGuided
from fastvmt.methods.job import Job
from fastvmt.methods.reading import motion_of
from fastvmt.methods.requirements import check_window
from fastvmt.motion.losses import amf_loss, window_loss
from fastvmt.motion.pairs import by_source, frame_pairs, pair_weights
from fastvmt.settings import Guidance, Predict, Sampler, Skip, Window
from fastvmt.types import MotionField, Pairs, PassCounter

log = logging.getLogger(__name__)


class FastVMT(BlockGuided):
    """Match the windowed attention motion flow of one block.

    The reference is read with the null text and noise of its own seed, at the current noise level but at most at
    ``guidance.reference_noise``; the generated video with the prompt. The learning rate falls within a step.

    With ``guidance.source=pass`` a guided step has one gradient, from the pass with the prompt that denoises anyway:
    all iterations replay it, and the Euler step takes the velocity from before they moved the latents.
    """

    name = "fastvmt"

    def __init__(self, window: Window, skip: Skip, guidance: Guidance) -> None:
        self.shared = guidance.source == "pass"
        if self.shared and skip.predict is Predict.linear:
            raise ValueError(
                "skip.predict=linear draws a line through two gradients of a denoising step, but guidance.source=pass "
                "has one: set skip.predict=hold or guidance.source=reading"
            )
        optimisation = Optimisation(
            guidance.fraction,
            guidance.iterations,
            guidance.lr,
            guidance.lr_end,
            delta=guidance.iterations if self.shared else skip.delta,
            predict=skip.predict,
            weight_decay=guidance.weight_decay,
            group="guidance",
        )
        super().__init__(guidance.block, optimisation)
        self.window = window
        self.guidance = guidance

    def requirements(self, layout: Layout) -> None:
        super().requirements(layout)
        if self.guidance.rope:
            layout.check_rotary("guidance.rope=true")
        check_window(self.window, layout)
        if self.window.l >= max(layout.grid[1:]):
            log.warning("window.l=%d covers all %d x %d tokens of a frame: dense flow", self.window.l, *layout.grid[1:])

    def rates(self, i: int, steps: int) -> list[float]:
        return self.optimisation.rates_within_step()

    def budget(self, layout: Layout, sampler: Sampler) -> PassCounter:
        gradients = self.optimised_steps(sampler.steps) * self.optimisation.gradients
        forwards = 0 if self.shared else gradients * self.block
        backwards = gradients * self.backward_passes(layout)
        return PassCounter(sampling_passes(layout, sampler) + forwards, backwards * self.block, backwards)

    def backward_passes(self, layout: Layout) -> int:
        """Backward passes of a gradient: one, and with diagnostics one of each loss where both have a gradient."""
        followed = any(len(targets) > 1 for _, targets in by_source(self.compared_pairs(layout.grid[0])))
        both = followed and self.window.l > 0 and self.guidance.window_weight > 0
        return 3 if self.guidance.diagnostics and both else 1

    def objective(self, job: Job, i: int, x: Tensor, sigma: float) -> Loss:
        reference = self.matched_motion(job, sigma)
        return lambda x: self.loss(*self.read(job, x, sigma, job.text), reference)

    def gradient(self, loss: Loss) -> Callable[[Tensor], Gradient]:
        return gradient_of(loss, of_terms=self.guidance.diagnostics)

    def step(self, job: Job, i: int, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """A step of the guided latents; with ``source=pass`` along the velocity of those before."""
        level = self.level(sigma)
        if not self.shared or i >= self.optimised_steps(job.steps):
            x = self.guide(job, i, x, sigma)
            return job.solver.step(i, x, job.velocity(i, x, level), sigma, sigma_next)
        told = job.solver.told(i, level)
        positive, gradient = self.tapped(job, x, sigma, told)
        velocity = job.classifier_free(i, x, told, positive)
        return job.solver.step(i, self.follow(job, i, x, sigma, lambda _: gradient), velocity, sigma, sigma_next)

    def tapped(self, job: Job, x: Tensor, sigma: float, told: float) -> tuple[Tensor, Gradient]:
        """From one pass with the prompt: its velocity, and the gradient that a reading of these latents has."""
        reference, g = self.matched_motion(job, sigma), self.guidance
        with torch.enable_grad():
            leaf = x.detach().to(self.latent_dtype).requires_grad_(True)
            velocity, q, k = job.backbone.tapped_velocity(leaf, told, job.text, g.block, g.rope)
            with job.watch.stage("guide"):
                terms = self.loss(*self.motion(q, k, job.backbone.layout.grid), reference)
                return velocity, gradient_at(leaf, terms, of_terms=g.diagnostics)

    def level(self, sigma: float) -> float:
        """The noise level that the model is told."""
        return sigma

    def pairs(self, frames: int) -> Pairs:
        """The pairs of latent frames between which the flow is read."""
        return frame_pairs(frames, self.window.sf)

    def compared_pairs(self, frames: int) -> Pairs:
        """Those of them whose windows the window loss follows."""
        return self.pairs(frames)

    def read(self, job: Job, latents: Tensor, sigma: float, text: Tensor) -> tuple[MotionField, Tensor | None]:
        """The motion field of latents at a noise level, and the windows' mean keys where a loss needs them."""
        g = self.guidance
        q, k = job.backbone.query_key(latents, self.level(sigma), text, g.block, g.rope)
        return self.motion(q, k, job.backbone.layout.grid)

    def motion(self, q: Tensor, k: Tensor, grid: tuple[int, int, int]) -> tuple[MotionField, Tensor | None]:
        """As :meth:`read`, from a block's queries and keys (F, S, N, D)."""
        return motion_of(q, k, grid, self.guidance, self.window)

    def loss(self, generated: MotionField, mean_keys: Tensor | None, reference: MotionField) -> dict[str, Tensor]:
        """lambda_AMF L_AMF and lambda_window L_window; pairs at distance d weigh 1 - alpha (d - 1) / (sf - 1)."""
        g = self.guidance
        weight_P = pair_weights(reference.pairs, self.window.sf, g.alpha, reference.flow_PS2.device)
        terms = {"amf": g.amf_weight * amf_loss(generated, reference, weight_P, g.reduction)}
        if mean_keys is not None:
            terms["window"] = g.window_weight * window_loss(mean_keys, generated.pairs)
        return terms

    def matched_motion(self, job: Job, sigma: float) -> MotionField:
        """What the latents at a noise level are compared with."""
        return self.reference_motion(job, min(sigma, self.guidance.reference_noise))

    def reference_motion(self, job: Job, sigma: float) -> MotionField:
        """The reference's motion field at a noise level, cached on disk."""

        def compute() -> dict[str, Tensor]:
            field, _ = self.read(job, self.noised_reference(job, sigma), sigma, job.null_text)
            return {"flow": field.flow_PS2}

        stored = job.stored(compute, kind=FastVMT.name, **self.reference_settings(job, sigma))
        grid = job.backbone.layout.grid
        return MotionField(stored["flow"], self.pairs(grid[0]), grid)

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
