"""The three tuned methods with few steps and iterations, a captioned case, and what a transfer leaves behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from fastvmt.backbones.wan import WanBackbone
from fastvmt.cache import TensorCache
from fastvmt.methods.base import Job, Method
from fastvmt.methods.det import DeT
from fastvmt.methods.motion_director import MotionDirector
from fastvmt.methods.motion_inversion import MotionInversion
from fastvmt.methods.transfer import transfer_case
from fastvmt.methods.tuned import Tuned
from fastvmt.schedule import sigma_schedule
from fastvmt.settings import Sampler
from fastvmt.stopwatch import Stopwatch
from fastvmt.trackers.dis import DisTracker
from fastvmt.tuning.inversion import Inversion
from fastvmt.tuning.loop import Tuning
from fastvmt.types import TransferCase, TransferResult, Video
from fastvmt.world.scene import render, sample_scene

SAMPLER = Sampler(steps=3, shift=3.0, cfg_scale=3.0)
TUNING = Tuning(iterations=5, lr=0.02, shift=3.0, checkpoint_every=2)
METHODS = ("motion_inversion", "motion_director", "det")


def captioned_case() -> TransferCase:
    clip = render(sample_scene(np.random.default_rng(4), 9, "single_object"), 48)
    video = Video(torch.from_numpy(clip.frames_THWC), 8.0)
    return TransferCase("case", video, "a dog on grass", seed=3, reference_prompt="a red car on sand")


def inversion_method(tuning: Tuning = TUNING, share: float = 0.0, **settings: object) -> MotionInversion:
    return MotionInversion(tuning, Inversion(share, 4), **({"blocks": [1, 2]} | settings))


def director(tuning: Tuning = TUNING, share: float = 0.0, **settings: object) -> MotionDirector:
    return MotionDirector(tuning, Inversion(share, 4), **({"rank": 4, "skip_spatial": 0.5} | settings))


def det(tuning: Tuning = TUNING, **settings: object) -> DeT:
    return DeT(tuning, DisTracker(64), **({"channels": 16, "initial": "kaiming", "points": 4} | settings))


def make(name: str, tuning: Tuning = TUNING, **settings: object) -> Tuned:
    return {"motion_inversion": inversion_method, "motion_director": director, "det": det}[name](tuning, **settings)


def transfer(
    backbone: WanBackbone, method: Method, case: TransferCase, cache: TensorCache | None = None, **sampler: float
) -> TransferResult:
    return transfer_case(backbone, method, replace(SAMPLER, **sampler), case, cache or TensorCache(None))


def same(a: TransferResult, b: TransferResult) -> bool:
    return torch.equal(a.latents_BCFHW, b.latents_BCFHW)


def job_for(backbone: WanBackbone, case: TransferCase | None) -> Job:
    null = backbone.embed("")
    reference = torch.zeros(backbone.layout.latent_shape) if case is None else backbone.encode(case.reference)
    return Job(
        backbone,
        reference,
        null,
        null,
        null,
        SAMPLER,
        sigma_schedule(3, 3.0),
        Stopwatch(backbone.device),
        TensorCache(None),
        case=case,
    )


def remains(backbone: WanBackbone) -> list[tuple[object, ...]]:
    """What a transfer could leave in the transformer."""
    found: list[tuple[object, ...]] = [
        (name, id(module), module.training, len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in backbone.transformer.named_modules()
    ]
    weights = backbone.transformer.named_parameters()
    return found + [(name, id(p), p._version, p.requires_grad, p.grad is None) for name, p in weights]
