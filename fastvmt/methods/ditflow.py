"""DiTFlow: dense attention motion flow (arXiv 2412.07776), guiding the latents or the rotary embedding.

Numbers of equations and lines are those of arXiv v2.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.files import DamagedFileError, read_tensors
from fastvmt.guidance.gradient import Loss
from fastvmt.methods.guided import BlockGuided, OwnNumbers
from fastvmt.methods.job import Job
from fastvmt.motion.ditflow import expected_flow, moving_flow_loss, strongest_flow
from fastvmt.motion.heads import reduce_heads
from fastvmt.motion.pairs import all_pairs
from fastvmt.schedule import add_noise
from fastvmt.settings import LARGEST_STEP, HeadReduce, check_choice, check_range
from fastvmt.types import MotionField


def table_name(i: int) -> str:
    """The name of denoising step ``i``'s rotary tables among what was learned."""
    return f"rotation_{i:03d}"


@dataclass(kw_only=True)
class DiTFlow(BlockGuided, OwnNumbers):
    """Match the displacement of every token between all ordered pairs of frames.

    Reference: clean latents, null text, the best key's displacement (``displacement=expectation``: the
    expected one, as for the generated video). Entries without displacement do not count.

    ``target=latent`` optimises the latents. ``target=embedding`` optimises copies of the rotary tables,
    one for queries and one for keys, carries them from step to step and denoises the guided steps with
    them; they are kept as ``learned.safetensors`` beside the video, and ``embeddings=<file>`` applies
    such a file to another prompt, step by step, without any gradient. ``inject`` replaces, in guided
    steps, the keys and values of block 0 by those of the equally noised reference. A departure: with both,
    injected keys are rotated by the learned tables as all keys are, in the authors' code by the model's own.
    """

    name = "ditflow"

    block: int
    target: str
    embeddings: str | None
    inject: bool
    displacement: str
    rope: bool
    temperature: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("method.target", self.target, ("latent", "embedding"))
        check_choice("method.displacement", self.displacement, ("argmax", "expectation"))
        check_range("method.temperature", self.temperature, 0, LARGEST_STEP, above=True)
        self.file = None if self.embeddings is None else Path(self.embeddings).expanduser()
        """What to apply instead of learning."""

    def requirements(self, layout: Layout) -> None:
        super().requirements(layout)
        if self.rope or self.target == "embedding":
            layout.check_rotary("method.rope=true" if self.rope else "method.target=embedding")
        if self.inject and self.block == 0:
            raise ValueError("method.inject=true replaces keys of block 0: read a later one, method.block=1 or more")
        if self.target == "embedding" and self.block == 0 and not self.rope:
            raise ValueError(
                "method.target=embedding does not reach queries and keys of block 0 before their rotation: "
                "set method.rope=true or method.block=1 or more"
            )
        if self.file is not None:
            self.check_embeddings(self.file, layout)

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
            stored = read_tensors(file.resolve(), self.name) or {}
        except DamagedFileError as error:
            raise ValueError(f"method.embeddings={file} holds no rotary tables of DiTFlow: {error}") from error
        names = [table_name(i) for i in range(len(stored) - 1)]
        if not names or stored.keys() != {"sigmas", *names}:
            raise ValueError(
                f"method.embeddings={file} holds no rotary tables of DiTFlow: it has {', '.join(sorted(stored)[:4])}"
            )
        if wrong := [n for n in names if tuple(stored[n].shape[:2]) != (4, prod(layout.grid))]:
            shape = list(stored[wrong[0]].shape)
            raise ValueError(
                f"method.embeddings={file} has {wrong[0]} of shape {shape}, one per token, but "
                f"backbone.frames, height and width of {layout.name} give {prod(layout.grid)}: "
                "use the size that it was learned at"
            )

    def optimised_steps(self, steps: int) -> int:
        return 0 if self.file is not None else super().optimised_steps(steps)

    def read(self, job: Job, latents: Tensor, sigma: float, text: Tensor, *, argmax: bool = False) -> MotionField:
        """The displacements of latents at a noise level; differentiable unless ``argmax``."""
        grid = job.backbone.layout.grid
        # DiTFlow, Eq. 2 (reference) and Eq. 5 (generated video): queries and keys of one block
        q, k = job.backbone.query_key(latents, sigma, text, self.block, self.rope)
        q, k, scale = reduce_heads(q, k, HeadReduce.mean_logit)
        pairs = all_pairs(grid[0])
        if argmax:
            return strongest_flow(q, k, pairs, grid)
        # DiTFlow, Eq. 6: the temperature is tau
        return expected_flow(q, k, pairs, grid, scale * self.temperature)

    def reference_motion(self, job: Job) -> MotionField:
        """The clean reference's displacements, cached on disk."""
        argmax = self.displacement == "argmax"

        def compute() -> dict[str, Tensor]:
            # DiTFlow, Eq. 2: the reference at t = 0, without noise, under an empty prompt
            return {"flow": self.read(job, job.reference, 0.0, job.null_text, argmax=argmax).flow_PS2}

        temperature = None if argmax else self.temperature
        stored = job.stored(compute, kind="ditflow", block=self.block, rope=self.rope, temperature=temperature)
        grid = job.backbone.layout.grid
        return MotionField(stored["flow"], all_pairs(grid[0]), grid)

    def objective(self, job: Job, i: int, x: Tensor, sigma: float) -> Callable[[Tensor], Tensor]:
        reference = self.reference_motion(job)
        # DiTFlow, Alg. 1, lines 13 to 19
        return lambda x: moving_flow_loss(self.read(job, x, sigma, job.text), reference)

    @contextmanager
    def injected(self, job: Job, i: int, sigma: float) -> Iterator[None]:
        """Within the context of a guided step, block 0 sees the reference's keys and values if ``inject`` says so."""
        with ExitStack() as stack:
            if self.inject and i < self.optimisation.guided(job.steps):
                noisy = add_noise(job.reference, job.noise, sigma)
                stack.enter_context(job.backbone.keys_and_values_of(noisy, sigma, job.text))
            yield

    def optimise(self, job: Job, i: int, start: Tensor, sigma: float, loss: Loss) -> Tensor:
        with self.injected(job, i, sigma):  # the clean reference has been read before, with its own keys
            return super().optimise(job, i, start, sigma, loss)

    def step(self, job: Job, i: int, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        x = self.guide(job, i, x, sigma)
        with ExitStack() as stack:
            stack.enter_context(self.injected(job, i, sigma))
            if (tables := self.tables(job, i)) is not None:
                stack.enter_context(job.backbone.rotated_by(tables.to(x.device), sigma))
            return job.solver.step(i, x, job.velocity(i, x, sigma), sigma, sigma_next)

    def guide(self, job: Job, i: int, x: Tensor, sigma: float) -> Tensor:
        """With ``target=embedding`` the latents stay, and this step's rotary tables are learned."""
        if self.target == "latent":
            return super().guide(job, i, x, sigma)
        if i < self.optimised_steps(job.steps):
            tables = self.learned_tables(job, i, x, sigma)
            job.learned |= {table_name(i): tables.cpu(), "sigmas": torch.tensor(job.sigmas[: i + 1])}
        return x

    def learned_tables(self, job: Job, i: int, x: Tensor, sigma: float) -> Tensor:
        """Rotary tables (4, F S, D / 2) for step ``i``, learned from the step before's or the model's own."""
        start = job.learned[table_name(i - 1)].to(x.device) if i else job.backbone.rotation()
        loss = self.objective(job, i, x, sigma)

        def loss_of(tables: Tensor) -> Tensor:
            with job.backbone.rotated_by(tables, sigma):
                return loss(x)

        with job.backbone.rotated_by(start, sigma):  # still there when checkpointing runs blocks again
            return self.optimise(job, i, start, sigma, loss_of)

    def tables(self, job: Job, i: int) -> Tensor | None:
        """The rotary tables of step ``i``, learned or from the file; None where there are none."""
        if self.file is None:
            return job.learned.get(table_name(i))
        with safe_open(self.file, "pt") as stored:
            return stored.get_tensor(table_name(i)) if table_name(i) in stored.keys() else None  # noqa: SIM118

    @contextmanager
    def prepared(self, job: Job) -> Iterator[None]:
        """Warn when the file's tables were learned at other noise levels."""
        if self.file is not None:
            with safe_open(self.file, "pt") as stored:
                sigmas = stored.get_tensor("sigmas")
            here = torch.tensor(job.sigmas[: len(sigmas)])
            if sigmas.shape != here.shape or not torch.allclose(sigmas, here):
                warnings.warn(
                    f"method.embeddings={self.file} was learned at noise levels {sigmas.tolist()}, "
                    f"not {here.tolist()}: set the sampler of that run",
                    stacklevel=2,
                )
        yield
