"""A method: how the denoising of one case starts, and what happens before its steps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from torch import Tensor

from fastvmt.backbones.base import Backbone
from fastvmt.backbones.layout import Layout
from fastvmt.cache import TensorCache
from fastvmt.sampling import add_noise, guided_velocity
from fastvmt.settings import Sampler
from fastvmt.stopwatch import Stopwatch
from fastvmt.types import TransferCase

Trace = list[dict[str, float]]


@dataclass
class Job:
    """Everything a method sees of the case it works on."""

    backbone: Backbone
    reference: Tensor
    """Latents of the reference clip."""
    text: Tensor
    """Embedded prompt."""
    null_text: Tensor
    """Embedded empty prompt."""
    negative: Tensor
    """Embedded negative prompt."""
    sampler: Sampler
    sigmas: list[float]
    watch: Stopwatch
    cache: TensorCache
    trace: Trace = field(default_factory=list)
    on_iteration: Callable[[dict[str, float]], None] | None = None
    """Called with every new trace row (progress bars)."""
    case: TransferCase | None = None
    """The clip, its caption and the prompt that the latents and embeddings were made from."""

    def record(self, row: dict[str, float]) -> None:
        self.trace.append(row)
        if self.on_iteration is not None:
            self.on_iteration(row)


class Method:
    """Plain text-to-video; subclasses override what they change."""

    name = "none"
    uses_strength = True
    """Whether ``sampler.strength`` below 1 starts from the noised reference."""

    def requirements(self, layout: Layout) -> None:
        """Raise ``ValueError``, before any weight loads, when a setting does not fit the backbone."""

    def start(self, job: Job, noise: Tensor) -> Tensor:
        """The first latents: pure noise, or the noised reference when ``sampler.strength`` < 1."""
        if self.uses_strength and job.sampler.strength < 1:
            return add_noise(job.reference, noise, job.sigmas[0])
        return noise

    def session(self, job: Job) -> AbstractContextManager[None]:
        """What must be in place while a case is denoised: tuned adapters, say. Undone even after an error."""
        return nullcontext()

    def before_step(self, job: Job, step: int, latents: Tensor, sigma: float) -> Tensor:
        """Latents to denoise at ``step``."""
        return latents

    def velocity(self, job: Job, step: int, latents: Tensor, sigma: float) -> Tensor:
        """The velocity of the Euler step: classifier-free guidance."""
        return guided_velocity(job.backbone, latents, sigma, job.text, job.negative, job.sampler.cfg_scale)

    def inner_iterations(self, steps: int) -> int:
        """How many inner iterations a transfer of ``steps`` denoising steps makes (progress bars)."""
        return 0
