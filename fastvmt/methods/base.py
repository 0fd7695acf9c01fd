"""A method: how the denoising of one case starts, and what happens before its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fastvmt.backbones.base import Backbone
from fastvmt.backbones.layout import Layout
from fastvmt.cache import TensorCache, content_key
from fastvmt.sampling import guided_velocity
from fastvmt.schedule import add_noise, seeded_noise
from fastvmt.settings import Sampler
from fastvmt.stopwatch import Stopwatch
from fastvmt.types import PassCounter, TransferCase

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
    noise: Tensor | None = None
    """The case's start noise."""
    trace: Trace = field(default_factory=list)
    learned: dict[str, Tensor] = field(default_factory=dict)
    """What the method wants to use again with another prompt, by name; stored beside the video."""
    on_iteration: Callable[[dict[str, float]], None] | None = None
    """Called with every new trace row (progress bars)."""
    case: TransferCase | None = None
    """The clip, its caption and the prompt that the latents and embeddings were made from."""

    def record(self, row: dict[str, float]) -> None:
        self.trace.append(row)
        if self.on_iteration is not None:
            self.on_iteration(row)

    def stored(self, compute: Callable[[], dict[str, Tensor]], **parts: object) -> dict[str, Tensor]:
        """Tensors that ``compute`` reads from the reference, cached on disk.

        The key holds the reference, the model and the null text; ``parts`` are the settings that matter.
        """
        backbone, text = self.backbone, self.null_text
        key = content_key(
            reference=self.reference,
            text=text,
            model=backbone.fingerprint,
            precision=str(text.dtype),
            grid=backbone.layout.grid,
            **parts,
        )
        with self.reading_reference(), torch.no_grad():
            tensors = self.cache.get(key, compute)
        return {name: tensor.to(self.reference.device) for name, tensor in tensors.items()}

    def noised_reference(self, sigma: float, seed: int) -> Tensor:
        """The reference at a noise level, with noise of its own seed."""
        return add_noise(self.reference, seeded_noise(self.reference.shape, seed, self.reference.device), sigma)

    @contextmanager
    def reading_reference(self) -> Iterator[None]:
        """Charge time and block forwards to the reference."""
        before = self.backbone.passes.block_forwards
        with self.watch.stage("reference"):
            yield
        self.backbone.passes.reference_forwards += self.backbone.passes.block_forwards - before


def sampling_passes(layout: Layout, steps: int, cfg_scale: float) -> int:
    """Block forwards of plain sampling: one pass per step and prompt, the negative one only off scale 1."""
    return steps * layout.depth * (1 if cfg_scale == 1 else 2)


class Method:
    """Plain text-to-video; subclasses override what they change."""

    name = "none"
    uses_strength = True
    """Whether ``sampler.strength`` below 1 starts from the noised reference."""
    needs_strength = False
    """Whether nothing of the reference would be left at ``sampler.strength=1``."""

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

    def budget(self, layout: Layout, steps: int, cfg_scale: float) -> PassCounter:
        """The passes of one transfer in closed form, without those that read the reference."""
        return PassCounter(block_forwards=sampling_passes(layout, steps, cfg_scale))

    def inner_iterations(self, steps: int) -> int:
        """How many inner iterations a transfer of ``steps`` denoising steps makes (progress bars)."""
        return 0
