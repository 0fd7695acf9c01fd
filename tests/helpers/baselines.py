"""The baselines made from their yaml files, and a transfer with one."""

from __future__ import annotations

from dataclasses import replace

import torch

from fastvmt.backbones.wan import WanBackbone
from fastvmt.cache import TensorCache
from fastvmt.construct import construct
from fastvmt.methods.base import Job, Method
from fastvmt.methods.transfer import transfer_case
from fastvmt.schedule import seeded_noise, sigma_schedule
from fastvmt.settings import Sampler
from fastvmt.stopwatch import Stopwatch
from fastvmt.types import TransferCase, TransferResult
from helpers.config import composed

SAMPLER = Sampler(steps=4, shift=3.0, cfg_scale=3.0)
OPTIMISED = ["ditflow", "moft", "smm", "flowmotion"]


def method_of(option: str, *changes: str) -> Method:
    """The method of a yaml, reading block 1 in half of the steps."""
    half = [] if option == "motionclone" else ["method.iterations=3"]
    cfg = composed(
        f"method={option}",
        "guidance.block=1",
        "method.fraction=0.5",
        *half,
        *(f"method.{change}" for change in changes),
    )
    method = construct(cfg.method, "method")
    assert isinstance(method, Method)
    return method


def transfer(backbone: WanBackbone, method: Method, case: TransferCase, **sampler: float) -> TransferResult:
    return transfer_case(backbone, method, replace(SAMPLER, **sampler), case, TensorCache(None))


def same(a: TransferResult, b: TransferResult) -> bool:
    return torch.equal(a.latents_BCFHW, b.latents_BCFHW)


def job_for(backbone: WanBackbone, case: TransferCase, strength: float = 1.0) -> Job:
    """The case with the empty prompt, so that the reference and the generated video are read alike."""
    null, noise = backbone.embed(""), seeded_noise(backbone.layout.latent_shape, 0, backbone.device)
    return Job(
        backbone,
        backbone.encode(case.reference),
        null,
        null,
        null,
        replace(SAMPLER, strength=strength),
        sigma_schedule(4, 3.0, strength),
        Stopwatch(backbone.device),
        TensorCache(None),
        noise=noise,
    )


def distinct_job(backbone: WanBackbone, case: TransferCase, strength: float = 1.0) -> Job:
    """The case with another text in every role, so that no one can stand for another."""
    texts = {role: backbone.embed(text) for role, text in (("text", case.prompt), ("negative", "a red car on sand"))}
    return replace(job_for(backbone, case, strength), **texts)
