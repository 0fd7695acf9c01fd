"""FastVMT: windowed attention motion flow with gradient reuse (arXiv 2602.05551), in its correct form."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict

from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.guidance.optimisation import Optimisation
from fastvmt.methods.guided import BlockGuided
from fastvmt.methods.job import Job
from fastvmt.methods.reading import read_motion
from fastvmt.methods.requirements import check_window
from fastvmt.motion.losses import amf_loss, window_loss
from fastvmt.motion.pairs import frame_pairs, pair_weights
from fastvmt.settings import Guidance, Skip, Window
from fastvmt.types import MotionField, Pairs

log = logging.getLogger(__name__)


class FastVMT(BlockGuided):
    """Match the windowed attention motion flow of one block.

    The reference is read with the null text and noise of its own seed, at the current noise level but at most at
    ``guidance.reference_noise``; the generated video with the prompt. The learning rate falls within a step.
    """

    name = "fastvmt"

    def __init__(self, window: Window, skip: Skip, guidance: Guidance) -> None:
        optimisation = Optimisation(
            guidance.fraction,
            guidance.iterations,
            guidance.lr,
            guidance.lr_end,
            delta=skip.delta,
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

    def objective(self, job: Job, i: int, x: Tensor, sigma: float) -> Callable[[Tensor], Tensor]:
        reference = self.reference_motion(job, min(sigma, self.guidance.reference_noise))
        return lambda x: self.loss(*self.read(job, x, sigma, job.text), reference)

    def pairs(self, frames: int) -> Pairs:
        """The pairs of latent frames between which the flow is read."""
        return frame_pairs(frames, self.window.sf)

    def read(self, job: Job, latents: Tensor, sigma: float, text: Tensor) -> tuple[MotionField, Tensor | None]:
        """The motion field of latents at a noise level, and the windows' mean keys where a loss needs them."""
        return read_motion(job.backbone, latents, sigma, text, self.guidance, self.window)

    def loss(self, generated: MotionField, mean_keys: Tensor | None, reference: MotionField) -> Tensor:
        """L = lambda_AMF L_AMF + lambda_window L_window, pairs at distance d weighing 1 - alpha (d - 1) / (sf - 1)."""
        g = self.guidance
        weight_P = pair_weights(reference.pairs, self.window.sf, g.alpha, reference.flow_PS2.device)
        value = g.amf_weight * amf_loss(generated, reference, weight_P, g.reduction)
        if mean_keys is not None:
            value = value + g.window_weight * window_loss(mean_keys, generated.pairs)
        return value

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
