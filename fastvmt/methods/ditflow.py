"""DiTFlow: dense attention motion flow (arXiv 2412.07776), guiding the latents or the rotary embedding."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.methods.base import Job
from fastvmt.methods.guided import BlockGuided
from fastvmt.motion.ditflow import expected_flow, moving_flow_loss, strongest_flow
from fastvmt.motion.heads import reduce_heads
from fastvmt.motion.pairs import all_pairs
from fastvmt.schedule import add_noise
from fastvmt.settings import HeadReduce, check
from fastvmt.types import MotionField


def table_name(step: int) -> str:
    """The name of a denoising step's rotary tables among what was learned."""
    return f"rotation_{step:03d}"


class DiTFlow(BlockGuided):
    """Match the displacement of every token between all ordered pairs of frames.

    Reference: clean latents, null text, the best key's displacement (``displacement=expectation``: the
    expected one, as for the generated video). Entries without displacement do not count.

    ``target=latent`` optimises the latents. ``target=embedding`` optimises copies of the rotary tables,
    one for queries and one for keys, carries them from step to step and denoises the guided steps with
    them; they are kept as ``learned.safetensors`` beside the video, and ``embeddings=<file>`` applies
    such a file to another prompt, step by step, without any gradient. ``inject`` replaces, in guided
    steps, the keys and values of block 0 by those of the equally noised reference.
    """

    name = "ditflow"

    def __init__(
        self,
        *,
        target: str,
        embeddings: str | None,
        inject: bool,
        displacement: str,
        block: int,
        rope: bool,
        temperature: float,
        fraction: float,
        iterations: int,
        lr: float,
        lr_end: float,
    ) -> None:
        super().__init__(block=block, fraction=fraction, iterations=iterations, lr=lr, lr_end=lr_end)
        check(target in ("latent", "embedding"), "method.target", target, "latent or embedding")
        known = displacement in ("argmax", "expectation")
        check(known, "method.displacement", displacement, "argmax or expectation")
        check(temperature > 0, "method.temperature", temperature, "above 0")
        self.target, self.inject, self.displacement = target, inject, displacement
        self.rope, self.temperature = rope, temperature
        self.embeddings = None if embeddings is None else Path(embeddings).expanduser()

    def requirements(self, layout: Layout) -> None:
        super().requirements(layout)
        if self.inject and self.block == 0:
            raise ValueError("method.inject=true replaces keys of block 0: read a later one, method.block=1 or more")
        if self.target == "embedding" and self.block == 0 and not self.rope:
            raise ValueError(
                "method.target=embedding does not reach queries and keys of block 0 before their rotation: "
                "set method.rope=true or method.block=1 or more"
            )
        if self.embeddings is not None:
            self.check_embeddings(self.embeddings, layout)

    def check_embeddings(self, file: Path, layout: Layout) -> None:
        """Raise ``ValueError`` unless the file holds rotary tables for clips of this size."""
        if self.target != "embedding":
            raise ValueError(f"method.embeddings={file} needs method.target=embedding")
        if not file.is_file():
            raise ValueError(
                f"method.embeddings={file} does not exist: a run with method.target=embedding writes one as "
                "<output_dir>/cases/<case>/learned.safetensors; null learns anew"
            )
        try:
            with safe_open(file, "pt") as stored:
                shape = stored.get_slice(table_name(0)).get_shape()
                stored.get_slice("sigmas")
        except SafetensorError as error:
            raise ValueError(f"method.embeddings={file} holds no rotary tables of DiTFlow: {error}") from error
        if shape[:2] != [4, prod(layout.grid)]:
            raise ValueError(
                f"method.embeddings={file} is for {shape[1]} tokens, but backbone.frames, height and width of "
                f"{layout.name} give {prod(layout.grid)}: use the size that it was learned at"
            )

    def inner_iterations(self, steps: int) -> int:
        return 0 if self.embeddings is not None else super().inner_iterations(steps)

    def read(self, job: Job, latents: Tensor, sigma: float, text: Tensor, *, argmax: bool = False) -> MotionField:
        """The displacements of latents at a noise level; differentiable unless ``argmax``."""
        grid = job.backbone.layout.grid
        q, k = job.backbone.query_key(latents, sigma, text, self.block, self.rope)
        q, k, scale = reduce_heads(q, k, HeadReduce.mean_logit)
        pairs = all_pairs(grid[0])
        if argmax:
            return strongest_flow(q, k, pairs, grid)
        return expected_flow(q, k, pairs, grid, scale * self.temperature)

    def reference_motion(self, job: Job) -> MotionField:
        """The clean reference's displacements, cached on disk."""
        argmax = self.displacement == "argmax"

        def compute() -> dict[str, Tensor]:
            return {"flow": self.read(job, job.reference, 0.0, job.null_text, argmax=argmax).flow_PS2}

        temperature = None if argmax else self.temperature
        stored = job.stored(compute, kind="ditflow", block=self.block, rope=self.rope, temperature=temperature)
        grid = job.backbone.layout.grid
        return MotionField(stored["flow"], all_pairs(grid[0]), grid)

    def objective(self, job: Job, step: int, latents: Tensor, sigma: float) -> Callable[[Tensor], Tensor]:
        reference = self.reference_motion(job)
        return lambda x: moving_flow_loss(self.read(job, x, sigma, job.text), reference)

    def before_step(self, job: Job, step: int, latents: Tensor, sigma: float) -> Tensor:
        if self.embeddings is not None or step >= self.guided(len(job.sigmas) - 1):
            return latents
        loss = self.objective(job, step, latents, sigma)
        with self.injected(job, sigma):
            if self.target == "latent":
                return self.optimise(job, step, latents, sigma, loss)
            self.learn(job, step, latents, sigma, loss)
            return latents

    def learn(self, job: Job, step: int, latents: Tensor, sigma: float, loss: Callable[[Tensor], Tensor]) -> None:
        """This step's rotary tables, from the step before's or the model's own."""
        start = job.learned[table_name(step - 1)].to(latents.device) if step else job.backbone.rotation()

        def loss_of(tables: Tensor) -> Tensor:
            with job.backbone.rotated_by(tables):
                return loss(latents)

        with job.backbone.rotated_by(start):  # still there when checkpointing runs blocks again
            tables = self.optimise(job, step, start, sigma, loss_of)
        job.learned |= {table_name(step): tables.cpu(), "sigmas": torch.tensor(job.sigmas[: step + 1])}

    @contextmanager
    def injected(self, job: Job, sigma: float) -> Iterator[None]:
        """Within the context, block 0 sees the reference's keys and values if ``inject`` asks for it."""
        with ExitStack() as stack:
            if self.inject:
                assert job.noise is not None
                noisy = add_noise(job.reference, job.noise, sigma)
                stack.enter_context(job.backbone.keys_and_values_of(noisy, sigma, job.text))
            yield

    @contextmanager
    def session(self, job: Job) -> Iterator[None]:
        if self.embeddings is not None:
            with safe_open(self.embeddings, "pt") as stored:
                sigmas = stored.get_tensor("sigmas")
            here = torch.tensor(job.sigmas[: len(sigmas)])
            if sigmas.shape != here.shape or not torch.allclose(sigmas, here):
                warnings.warn(
                    f"method.embeddings={self.embeddings} was learned at noise levels {sigmas.tolist()}, "
                    f"not {here.tolist()}: set the sampler of that run",
                    stacklevel=2,
                )
        yield

    def tables(self, job: Job, step: int) -> Tensor | None:
        """The rotary tables of a step, learned or from the file; None where there are none."""
        if self.embeddings is None:
            return job.learned.get(table_name(step))
        with safe_open(self.embeddings, "pt") as stored:
            return stored.get_tensor(table_name(step)) if table_name(step) in stored.keys() else None  # noqa: SIM118

    def velocity(self, job: Job, step: int, latents: Tensor, sigma: float) -> Tensor:
        guided = step < self.guided(len(job.sigmas) - 1)
        with ExitStack() as stack:
            if guided:
                stack.enter_context(self.injected(job, sigma))
            if (tables := self.tables(job, step)) is not None:
                stack.enter_context(job.backbone.rotated_by(tables.to(latents.device)))
            return super().velocity(job, step, latents, sigma)
