"""FastVMT: windowed attention motion flow with gradient reuse (arXiv 2602.05551), in its correct form."""

from __future__ import annotations

import logging
from dataclasses import asdict

from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.methods.job import Job
from fastvmt.methods.reading import motion_of
from fastvmt.methods.requirements import check_window
from fastvmt.methods.shared_pass import QueryKeyGuided, QueryKeyLoss
from fastvmt.motion.losses import amf_loss, window_loss
from fastvmt.motion.pairs import by_source, frame_pairs, pair_weights
from fastvmt.settings import Guidance, Skip, Window
from fastvmt.types import MotionField, Pairs

log = logging.getLogger(__name__)


class FastVMT(QueryKeyGuided):
    """Match the windowed attention motion flow of one block.

    The reference is read with the null text and noise of its own seed, at the current noise level but at most at
    ``guidance.reference_noise``; the generated video with the prompt. The learning rate falls within a step.
    """

    name = "fastvmt"

    def __init__(self, window: Window, skip: Skip, guidance: Guidance) -> None:
        super().__init__(skip, guidance)
        self.window = window

    def requirements(self, layout: Layout) -> None:
        super().requirements(layout)
        check_window(self.window, layout)
        if self.window.l >= max(layout.grid[1:]):
            log.warning("window.l=%d covers all %d x %d tokens of a frame: dense flow", self.window.l, *layout.grid[1:])

    def rates(self, i: int, steps: int) -> list[float]:
        return self.optimisation.rates_within_step()

    def backward_passes(self, layout: Layout) -> int:
        """Backward passes of a gradient: one, and with diagnostics one of each loss where both have a gradient."""
        followed = any(len(targets) > 1 for _, targets in by_source(self.compared_pairs(layout.grid[0])))
        both = followed and self.window.l > 0 and self.guidance.window_weight > 0
        return 3 if self.guidance.diagnostics and both else 1

    def comparison(self, job: Job, sigma: float) -> QueryKeyLoss:
        reference = self.matched_motion(job, sigma)
        return lambda q, k: self.loss(*self.motion(q, k, job.backbone.layout.grid), reference)

    def pairs(self, frames: int) -> Pairs:
        """The pairs of latent frames between which the flow is read."""
        return frame_pairs(frames, self.window.sf)

    def compared_pairs(self, frames: int) -> Pairs:
        """Those of them whose windows the window loss follows."""
        return self.pairs(frames)

    def motion(self, q: Tensor, k: Tensor, grid: tuple[int, int, int]) -> tuple[MotionField, Tensor | None]:
        """The motion field of queries and keys (F, S, N, D), and the windows' mean keys where a loss needs them."""
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
        return self.reference_motion(job, self.read_at(sigma))

    def reference_motion(self, job: Job, sigma: float) -> MotionField:
        """The reference's motion field at a noise level, cached on disk."""
        grid = job.backbone.layout.grid

        def compute() -> dict[str, Tensor]:
            q, k = self.read(job, self.noised_reference(job, sigma), sigma, job.null_text)
            return {"flow": self.motion(q, k, grid)[0].flow_PS2}

        stored = job.stored(compute, kind=FastVMT.name, **self.reference_settings(job, sigma))
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
