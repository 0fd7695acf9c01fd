"""FlowMotion (CVPR 2026): match predicted clean latents, without a gradient through the transformer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.methods.base import Job, sampling_passes
from fastvmt.methods.guided import Guided
from fastvmt.motion.flowmotion import clean_loss, regularised
from fastvmt.sampling import guided_velocity
from fastvmt.settings import check
from fastvmt.types import PassCounter


class FlowMotion(Guided):
    """Move the latents so that the clean latent they predict, and its frame differences, match.

    The reference's clean latent is predicted from its noised form with the null text
    (``representation=source_velocity``, one cached pass per guided step, each with noise of its
    own), or is the encoded clip itself (``clean_latent``). The velocity is a constant of the loss.
    After the first step its part across the mean velocity so far is scaled by ``across``.
    """

    name = "flowmotion"

    def __init__(
        self,
        *,
        representation: str,
        weight: float,
        difference_weight: float,
        across: float,
        fraction: float,
        iterations: int,
        lr: float,
        lr_end: float,
        reference_seed: int,
    ) -> None:
        super().__init__(fraction=fraction, iterations=iterations, lr=lr, lr_end=lr_end)
        known = representation in ("source_velocity", "clean_latent")
        check(known, "method.representation", representation, "source_velocity or clean_latent")
        check(weight >= 0, "method.weight", weight, "at least 0")
        check(difference_weight >= 0, "method.difference_weight", difference_weight, "at least 0")
        check(0 <= across <= 1, "method.across", across, "in [0, 1]")
        self.representation, self.reference_seed = representation, reference_seed
        self.weight, self.difference_weight, self.across = weight, difference_weight, across

    def budget(self, layout: Layout, steps: int, cfg_scale: float) -> PassCounter:
        return PassCounter(sampling_passes(layout, steps + self.inner_iterations(steps), cfg_scale))

    def reference_latents(self, job: Job, step: int, sigma: float) -> Tensor:
        """The reference's clean latents: predicted at this noise level and cached on disk, or encoded."""
        if self.representation == "clean_latent":
            return job.reference

        def compute() -> dict[str, Tensor]:
            noisy = job.noised_reference(sigma, self.reference_seed + step)
            return {"clean": noisy - sigma * job.backbone.velocity(noisy, sigma, job.null_text)}

        return job.stored(compute, kind="flowmotion", sigma=round(sigma, 6), seed=self.reference_seed + step)["clean"]

    def objective(self, job: Job, step: int, latents: Tensor, sigma: float) -> Callable[[Tensor], Tensor]:
        reference = self.reference_latents(job, step, sigma)
        mean = None
        if step > 0:
            assert job.noise is not None
            mean = (latents - self.start(job, job.noise)) / (sigma - job.sigmas[0])

        def loss(x: Tensor) -> Tensor:
            with torch.no_grad():
                text, negative, scale = job.text, job.negative, job.sampler.cfg_scale
                velocity = guided_velocity(job.backbone, x, sigma, text, negative, scale)
                if mean is not None:
                    velocity = regularised(velocity, mean, self.across)
            return clean_loss(x - sigma * velocity, reference, self.weight, self.difference_weight)

        return loss
