"""A job: everything that a method sees of the case it works on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from fastvmt.algorithm import ALGORITHM
from fastvmt.backbones.base import Backbone
from fastvmt.cache import TensorCache, content_key
from fastvmt.divergence import EMBEDDING, FEATURES, check_finite, check_loss
from fastvmt.guidance.gradient import GradientLog
from fastvmt.sampling import ClassifierFree
from fastvmt.schedule import add_noise, seeded_noise
from fastvmt.settings import Sampler
from fastvmt.solver import Solver
from fastvmt.stopwatch import Stopwatch
from fastvmt.types import TransferCase

Trace = list[dict[str, float]]
TOOK = "_seconds"
"""The name under which an entry of the cache holds what it took."""


@dataclass(kw_only=True)
class Job:
    """One case on one backbone: its latents and embeddings, and what its transfer leaves behind.

    Latents are (1, C, F, H', W') float32; embeddings are (1, tokens, C).
    """

    backbone: Backbone
    case: TransferCase
    """The clip, its caption and the prompt that the latents and embeddings were made from."""
    reference: Tensor
    """Latents of the reference clip."""
    noise: Tensor
    """The case's start noise."""
    text: Tensor
    """Embedded prompt."""
    null_text: Tensor
    """Embedded empty prompt."""
    negative: Tensor
    """Embedded negative prompt."""
    sampler: Sampler
    sigmas: list[float]
    """Noise levels of the denoising, from the start to 0."""
    watch: Stopwatch
    cache: TensorCache
    solver: Solver = field(default_factory=Solver)
    """What takes the denoising steps, with its history."""
    trace: Trace = field(default_factory=list)
    gradients: GradientLog = field(default_factory=GradientLog)
    """What the trace says of gradients, over all denoising steps."""
    learned: dict[str, Tensor] = field(default_factory=dict)
    """What the method wants to use again with another prompt, by name; stored beside the video."""
    unguided: range = range(0)
    """The last steps, in which no guidance is: there the backbone may take its shortcuts."""
    on_iteration: Callable[[dict[str, float]], None] | None = None
    """Called with every new trace row (progress bars)."""

    @property
    def steps(self) -> int:
        """Denoising steps."""
        return len(self.sigmas) - 1

    @cached_property
    def caption(self) -> Tensor:
        """The embedded caption of the reference, which only some methods need."""
        with self.watch.stage("encode"):
            caption = self.backbone.embed(self.case.reference_prompt)
        check_finite("the embedding of the reference's caption", caption, EMBEDDING)
        return caption

    @cached_property
    def classifier_free(self) -> ClassifierFree:
        """What makes of the velocity with the prompt the one under the sampler's guidance scale."""
        return ClassifierFree(self.backbone, self.negative, self.sampler, self.unguided)

    def velocity(self, i: int, x: Tensor, sigma: float) -> Tensor:
        """The velocity of latents in step ``i`` under the case's prompts and the sampler's guidance scale."""
        return self.classifier_free.velocity(i, x, self.solver.told(i, sigma), self.text)

    def noised_reference(self, sigma: float, seed: int) -> Tensor:
        """The reference at a noise level, with noise of its own seed."""
        return add_noise(self.reference, seeded_noise(self.reference.shape, seed, self.reference.device), sigma)

    def record(self, row: dict[str, float]) -> None:
        """Append a row to the trace and tell whoever watches. Raises :class:`Diverged` for a loss that has grown."""
        check_loss(row, self.trace)
        self.trace.append(row)
        if self.on_iteration is not None:
            self.on_iteration(row)

    def key(self, text: Tensor, **parts: object) -> str:
        """Content key of something made from the reference with a text; ``parts`` are the settings that matter."""
        return content_key(
            algorithm=ALGORITHM,
            reference=self.reference,
            text=text,
            model=self.backbone.fingerprint,
            precision=str(text.dtype),
            grid=self.backbone.layout.grid,
            **parts,
        )

    def stored(self, compute: Callable[[], dict[str, Tensor]], **parts: object) -> dict[str, Tensor]:
        """Tensors that ``compute`` reads from the reference, cached on disk under the null text and ``parts``.

        Raises :class:`Diverged`, and keeps nothing, when they are not finite.
        """

        def checked() -> dict[str, Tensor]:
            found = compute()
            for name, tensor in found.items():
                check_finite(f"the reference's {name} that the guidance reads", tensor, FEATURES)
            return found

        with self.reading_reference(), torch.no_grad():
            return self.cached(self.key(self.null_text, **parts), checked)

    def cached(self, key: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """What is cached on disk under a key, or computed: with what it takes, charged to whoever finds it there.

        That is CPU seconds where the CPU computes, which hold on a busy machine too.
        """
        clock = time.process_time if self.reference.device.type == "cpu" else time.perf_counter

        def timed() -> dict[str, Tensor]:
            start = clock()
            found = compute()
            self.watch.charge(key, 0.0)
            return found | {TOOK: torch.tensor(clock() - start, dtype=torch.float64)}

        tensors = dict(self.cache.get(key, timed))
        self.watch.charge(key, float(tensors.pop(TOOK, math.nan)))
        return {name: tensor.to(self.reference.device) for name, tensor in tensors.items()}

    @contextmanager
    def reading_reference(self) -> Iterator[None]:
        """Charge time and block forwards within the context to the reference."""
        before = self.backbone.passes.block_forwards
        with self.watch.stage("reference"):
            yield
        self.backbone.passes.reference_forwards += self.backbone.passes.block_forwards - before
