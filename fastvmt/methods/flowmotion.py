"""FlowMotion (CVPR 2026): match predicted clean latents, without a gradient through the transformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.methods.base import sampling_passes
from fastvmt.methods.guided import OwnNumbers
from fastvmt.methods.job import Job
from fastvmt.motion.flowmotion import clean_loss, regularised
from fastvmt.settings import LARGEST_WEIGHT, Sampler, check_choice, check_range, check_seed
from fastvmt.types import PassCounter


def predicted_clean(x: Tensor, sigma: float, velocity: Tensor) -> Tensor:
    """The clean latent at the end of a straight path from x along its velocity."""
    # FlowMotion, Eq. 2, and of the reference Eq. 3: x_0 = x - sigma v
    return x - sigma * velocity


@dataclass(kw_only=True)
class FlowMotion(OwnNumbers):
    """Move the latents so that the clean latent they predict, and its frame differences, match.

    The reference's clean latent is predicted from its noised form with the null text
    (``representation=source_velocity``, one cached pass per guided step, each with noise of its
    own), or is the encoded clip itself (``clean_latent``). The velocity is a constant of the loss.
    After the first step its part across the mean velocity so far is scaled by ``across``.
    """

    name = "flowmotion"

    representation: str
    weight: float
    difference_weight: float
    across: float
    reference_seed: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("method.representation", self.representation, ("source_velocity", "clean_latent"))
        check_range("method.weight", self.weight, 0, LARGEST_WEIGHT)
        check_range("method.difference_weight", self.difference_weight, 0, LARGEST_WEIGHT)
        check_range("method.across", self.across, 0, 1)
        check_seed("method.reference_seed", self.reference_seed)

    def budget(self, layout: Layout, sampler: Sampler) -> PassCounter:
        inner = list(range(self.optimised_steps(sampler.steps))) * self.optimisation.iterations
        return PassCounter(sampling_passes(layout, sampler, [*range(sampler.steps), *inner]))

    def readings(self, layout: Layout, sigmas: Sequence[float]) -> int:
        predicted = self.representation == "source_velocity"
        return layout.depth * self.optimised_steps(len(sigmas) - 1) if predicted else 0

    def reference_latents(self, job: Job, i: int, sigma: float) -> Tensor:
        """The reference's clean latents: predicted at this noise level and cached on disk, or encoded."""
        if self.representation == "clean_latent":
            return job.reference
        seed = self.reference_seed + i

        def compute() -> dict[str, Tensor]:
            noisy = job.noised_reference(sigma, seed)
            return {"clean": predicted_clean(noisy, sigma, job.backbone.velocity(noisy, sigma, job.null_text))}

        return job.stored(compute, kind="flowmotion", sigma=round(sigma, 6), seed=seed)["clean"]

    def objective(self, job: Job, i: int, x: Tensor, sigma: float) -> Callable[[Tensor], Tensor]:
        reference = self.reference_latents(job, i, sigma)
        # FlowMotion, Eq. 6: vbar = (x_i - x_0) / (sigma_i - sigma_0), the mean velocity so far
        mean = (x - self.start(job)) / (sigma - job.sigmas[0]) if i > 0 else None

        def loss(x: Tensor) -> Tensor:
            with torch.no_grad():
                velocity = job.velocity(i, x, sigma)
                if mean is not None:
                    velocity = regularised(velocity, mean, self.across)
            return clean_loss(predicted_clean(x, sigma, velocity), reference, self.weight, self.difference_weight)

        return loss
