"""One transfer, from a case to a result: encode, denoise with the method's help, decode."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from fastvmt.backbones.base import Backbone
from fastvmt.cache import TensorCache
from fastvmt.divergence import EMBEDDING, check_finite, check_latents, diverging_at, rms
from fastvmt.methods.base import Method
from fastvmt.methods.job import Job
from fastvmt.methods.state import Checkpoint, State, restore, state_of
from fastvmt.sampling import Step, denoise
from fastvmt.schedule import seeded_noise
from fastvmt.settings import Sampler
from fastvmt.solver import solver_of
from fastvmt.stopwatch import Stopwatch
from fastvmt.types import PassCounter, TransferCase, TransferResult, Video

log = logging.getLogger(__name__)


def warn_unknown(backbone: Backbone, prompt: str) -> None:
    """Warn about words that a model cannot know, listing what a small one knows."""
    unknown = backbone.unknown_words(prompt)
    if unknown:
        known = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in (backbone.vocabulary or {}).items())
        told = f"{backbone.name} does not know {', '.join(unknown)} in the prompt {prompt!r}"
        log.warning(f"{told}. It knows {known}" if known else told)


def watched(step: Step, clean: float) -> Step:
    """``step``, whose errors about numbers name it and whose latents are checked; ``clean`` is the reference's rms."""

    def checked(i: int, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
        with diverging_at(step=i):
            x = step(i, x, sigma, sigma_next)
            check_latents(x, sigma_next, clean)
        return x

    return checked


def encode(backbone: Backbone, case: TransferCase) -> tuple[Tensor, list[Tensor]]:
    """Latents of the reference, and the embeddings of prompt, empty prompt and negative prompt; all finite."""
    reference = backbone.encode(case.reference)
    check_finite("the reference's latents", reference, "the autoencoder's weights or the statistics in its config.json")
    negative = backbone.negative_prompts.get(case.negative_prompt, case.negative_prompt)
    texts = [backbone.embed(prompt) for prompt in (case.prompt, "", negative)]
    check_finite("the text embeddings", torch.cat(texts, 1), EMBEDDING)
    return reference, texts


@torch.no_grad()
def transfer_case(
    backbone: Backbone,
    method: Method,
    sampler: Sampler,
    case: TransferCase,
    cache: TensorCache,
    *,
    on_step: Callable[[int], None] | None = None,
    on_iteration: Callable[[dict[str, float]], None] | None = None,
    watch: Stopwatch | None = None,
    checkpoint: Checkpoint | None = None,
) -> TransferResult:
    """Generate the video of ``case``. The reference must have the backbone's frames and size.

    The same case, seed and settings give the same video; the start noise depends on ``case.seed``
    alone, so that methods can be compared on it. ``watch`` brings meters of memory and energy along.
    Raises :class:`fastvmt.divergence.Diverged` when the numbers leave their range, saying where and what to lower. From
    the state that ``checkpoint`` holds, the case goes on to the same video.
    """
    warn_unknown(backbone, case.prompt)
    backbone.passes = PassCounter()
    noise = seeded_noise(backbone.layout.latent_shape, case.seed, backbone.device)
    watch = watch or Stopwatch(noise.device)
    sigmas, solver = solver_of(backbone, sampler, method.uses_strength)
    with watch.stage("encode"):
        reference, (text, null_text, negative) = encode(backbone, case)
    job = Job(
        backbone=backbone,
        case=case,
        noise=noise,
        reference=reference,
        text=text,
        null_text=null_text,
        negative=negative,
        sampler=sampler,
        sigmas=sigmas,
        solver=solver,
        watch=watch,
        cache=cache,
        unguided=range(method.guided_steps(len(sigmas) - 1), len(sigmas) - 1),
        on_iteration=on_iteration,
    )
    state = None if checkpoint is None else checkpoint.read()
    with watch.stage("denoise"):
        latents = denoised(method, job, state, checkpoint, on_step)
    with watch.stage("decode"):
        frames = (backbone.decode(latents) * 255).round().to(torch.uint8).cpu()
    video = Video(frames, case.reference.fps, case.id)
    passes = replace(backbone.passes)  # later readings of the result count on the backbone's
    return TransferResult(case, video, watch.totals(), job.trace, passes, latents.cpu(), job.learned, state is not None)


def denoised(
    method: Method,
    job: Job,
    state: State | None,
    checkpoint: Checkpoint | None,
    on_step: Callable[[int], None] | None,
) -> Tensor:
    """The latents that a method ends in, from its start or from a state; states are kept on the way."""

    def after_step(i: int, x: Tensor) -> None:
        done = i + 1
        if checkpoint is not None and done % checkpoint.every == 0:
            with job.watch.stage("checkpoint"):
                checkpoint.write(state_of(job, done, x))
        if on_step is not None:
            on_step(i)

    start = method.start(job) if state is None else state.latents.to(job.reference.device)
    check_finite("the start latents", start, "the reference's latents or their inversion")
    step = watched(partial(method.step, job), rms(job.reference))
    with method.prepared(job), job.backbone.shortcuts.case():
        if state is not None:
            restore(job, state)
        first = 0 if state is None else state.step
        return denoise(start, job.sigmas, step, after_step, first=first)
