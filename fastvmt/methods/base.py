"""A method: how the denoising of one case starts, what a step does, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.methods.job import Job
from fastvmt.methods.requirements import check_frames
from fastvmt.schedule import add_noise
from fastvmt.settings import Sampler
from fastvmt.types import PassCounter


def sampling_passes(layout: Layout, sampler: Sampler, steps: Iterable[int] | None = None) -> int:
    """Block forwards of a velocity in each of these steps, by default once in all: with the prompt, and the negative.

    The negative pass runs where :meth:`Sampler.negative_at` says.
    """
    chosen = range(sampler.steps) if steps is None else steps
    return layout.depth * sum(1 + sampler.negative_at(i) for i in chosen)


class Method:
    """Plain text-to-video; subclasses override what they change.

    A method is settings, fixed at construction: one object serves any number of cases. What belongs to a case is in
    its :class:`Job`. A transfer calls ``start``, then, within ``prepared``, ``step`` once per denoising step.
    """

    name = "none"
    uses_strength = True
    """Whether ``sampler.strength`` below 1 starts from the noised reference."""
    needs_strength = False
    """Whether nothing of the reference would be left at ``sampler.strength=1``."""
    repeats: str | None = None
    """The setting by which a step is taken more than once, if it is; a solver with a history cannot."""
    changes_blocks = False
    """Whether the model's blocks are not its own while a case is denoised: adapters."""
    reads_per_case = False
    """Whether what is read of a reference serves one case alone, instead of all its prompts and seeds."""
    least_frames = 1
    """Latent frames below which the method has nothing to work on."""

    def requirements(self, layout: Layout) -> None:
        """Raise ``ValueError``, before any weight loads, when a setting does not fit the backbone."""
        check_frames(self.least_frames, layout, self.name)

    def start(self, job: Job) -> Tensor:
        """The first latents (1, C, F, H', W'): pure noise, or the noised reference when ``sampler.strength`` < 1."""
        if self.uses_strength and job.sampler.strength < 1:
            # SDEdit (arXiv 2108.01073), Sec. 3: the reference noised to t_0 by Eq. 1
            return add_noise(job.reference, job.noise, job.sigmas[0])
        return job.noise

    def prepared(self, job: Job) -> AbstractContextManager[None]:
        """What must be in place while a case is denoised: tuned adapters, say. Undone even after an error."""
        return nullcontext()

    def step(self, job: Job, i: int, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """The latents at ``sigma_next`` from those at ``sigma``: the solver's under classifier-free guidance."""
        return job.solver.step(i, x, job.velocity(i, x, self.level(sigma)), sigma, sigma_next)

    def level(self, sigma: float) -> float:
        """The noise level that the model is told, where the latents have ``sigma``."""
        return sigma

    def guided_steps(self, steps: int) -> int:
        """In how many of the first of ``steps`` denoising steps the reference has a say."""
        return 0

    def budget(self, layout: Layout, sampler: Sampler) -> PassCounter:
        """The passes of one transfer in closed form, without those that read the reference."""
        return PassCounter(block_forwards=sampling_passes(layout, sampler))

    def readings(self, layout: Layout, sigmas: Sequence[float]) -> int:
        """The block forwards, in closed form, that read a reference of which nothing is kept yet.

        ``sigmas`` are the denoising's noise levels, from the start to 0.
        """
        return 0

    def inner_iterations(self, steps: int) -> int:
        """How many inner iterations a transfer of ``steps`` denoising steps makes (progress bars)."""
        return 0
