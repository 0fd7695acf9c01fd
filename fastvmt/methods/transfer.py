"""One transfer, from a case to a result: encode, denoise with the method's help, decode."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from fastvmt.backbones.base import Backbone
from fastvmt.cache import TensorCache
from fastvmt.methods.base import Method
from fastvmt.methods.job import Job
from fastvmt.sampling import denoise
from fastvmt.schedule import seeded_noise
from fastvmt.settings import Sampler
from fastvmt.stopwatch import Stopwatch
from fastvmt.types import PassCounter, TransferCase, TransferResult, Video

log = logging.getLogger(__name__)


def warn_unknown(backbone: Backbone, prompt: str) -> None:
    """Warn about words that a small model cannot know, listing what it knows."""
    unknown = backbone.unknown_words(prompt)
    if unknown:
        known = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in (backbone.vocabulary or {}).items())
        log.warning(f"{backbone.name} does not know {', '.join(unknown)} in the prompt {prompt!r}. It knows {known}")


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
) -> TransferResult:
    """Generate the video of ``case``. The reference must have the backbone's frames and size.

    The same case, seed and settings give the same video; the start noise depends on ``case.seed``
    alone, so that methods can be compared on it. ``watch`` brings meters of memory and energy along.
    """
    warn_unknown(backbone, case.prompt)
    backbone.passes = PassCounter()
    noise = seeded_noise(backbone.layout.latent_shape, case.seed, backbone.device)
    watch = watch or Stopwatch(noise.device)
    sigmas = backbone.sigmas(sampler.steps, sampler.shift, sampler.strength if method.uses_strength else 1.0)
    with watch.stage("encode"):
        reference = backbone.encode(case.reference)
        text = backbone.embed(case.prompt)
        null_text = backbone.embed("")
        negative = backbone.embed(case.negative_prompt)
    job = Job(
        backbone=backbone,
        case=case,
        reference=reference,
        noise=noise,
        text=text,
        null_text=null_text,
        negative=negative,
        sampler=sampler,
        sigmas=sigmas,
        watch=watch,
        cache=cache,
        on_iteration=on_iteration,
    )
    with watch.stage("denoise"):
        start = method.start(job)
        with method.session(job):
            latents = denoise(start, sigmas, partial(method.step, job), on_step)
    with watch.stage("decode"):
        pixels = backbone.decode(latents)
        frames = (pixels * 255).round().to(torch.uint8).cpu()
    video = Video(frames, case.reference.fps, case.id)
    passes = replace(backbone.passes)  # later readings of the result count on the backbone's
    return TransferResult(case, video, watch.totals(), job.trace, passes, latents.cpu(), learned=job.learned)
