"""One way of transferring a case, one job for a method to work on, and what a transfer leaves in a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from fastvmt.backbones.base import Backbone
from fastvmt.cache import TensorCache
from fastvmt.methods.base import Method
from fastvmt.methods.job import Job
from fastvmt.methods.transfer import transfer_case
from fastvmt.schedule import seeded_noise, sigma_schedule
from fastvmt.settings import Sampler
from fastvmt.stopwatch import Stopwatch
from fastvmt.types import TransferCase, TransferResult, Video
from fastvmt.world.scene import render, sample_scene

SAMPLER = Sampler(steps=4, shift=3.0, cfg_scale=3.0, strength=1.0)


def captioned_case() -> TransferCase:
    """The case of ``fixtures`` with a caption of its reference."""
    clip = render(sample_scene(np.random.default_rng(4), 9, "single_object"), 48)
    video = Video(torch.from_numpy(clip.frames_THWC), 8.0)
    return TransferCase("case", video, "a dog on grass", seed=3, reference_prompt="a red car on sand")


def transfer(
    backbone: Backbone, method: Method, case: TransferCase, cache: TensorCache | None = None, **sampler: float
) -> TransferResult:
    """``transfer_case`` with four steps, unless ``sampler`` says otherwise."""
    return transfer_case(backbone, method, replace(SAMPLER, **sampler), case, cache or TensorCache(None))


def encode_once(backbone: Backbone) -> Backbone:
    """The same model, which encodes a clip once: most of hundreds of transfers have the same reference."""
    encode, known = backbone.encode, {}

    def encoded(video: Video) -> Tensor:
        key = video.frames_THWC.numpy().tobytes()
        if key not in known:
            known[key] = encode(video)
        return known[key].clone()

    backbone.encode = encoded
    return backbone


def same(a: TransferResult, b: TransferResult) -> bool:
    return torch.equal(a.latents_BCFHW, b.latents_BCFHW) and torch.equal(a.video.frames_THWC, b.video.frames_THWC)


def job_for(backbone: Backbone, case: TransferCase, *, sampler: Sampler = SAMPLER, **fields: object) -> Job:
    """The case with the empty prompt, so that the reference and the generated video are read alike."""
    null = backbone.embed("")
    job = Job(
        backbone=backbone,
        case=case,
        reference=backbone.encode(case.reference),
        noise=seeded_noise(backbone.layout.latent_shape, 0, backbone.device),
        text=null,
        null_text=null,
        negative=null,
        sampler=sampler,
        sigmas=sigma_schedule(sampler.steps, sampler.shift, sampler.strength),
        watch=Stopwatch(backbone.device),
        cache=TensorCache(None),
    )
    return replace(job, **fields)


def distinct_job(backbone: Backbone, case: TransferCase, **fields: object) -> Job:
    """The case with another text in every role, so that no one can stand for another."""
    texts = {"text": backbone.embed(case.prompt), "negative": backbone.embed("a red car on sand")}
    return job_for(backbone, case, **(texts | fields))


def remains(root: nn.Module) -> list[tuple[object, ...]]:
    """Everything that a transfer could leave in a model: parts, hooks, processors, modes, weights, gradients."""
    found: list[tuple[object, ...]] = []
    for name, module in root.named_modules():
        hooks = [list(getattr(module, kind)) for kind in sorted(vars(module)) if "_hooks" in kind]
        own = sorted(vars(module))
        found.append((name, id(module), type(module), module.training, hooks, own, id(getattr(module, "processor", 0))))
    for name, tensor in [*root.named_parameters(), *root.named_buffers()]:
        values = hash(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        found.append((name, id(tensor), tensor._version, tensor.requires_grad, tensor.grad is None, values))
    return found
