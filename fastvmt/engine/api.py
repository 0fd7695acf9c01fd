"""The command line's run for one clip, as a function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fastvmt.cache import TensorCache
from fastvmt.compose import composed
from fastvmt.construct import construct
from fastvmt.engine.plan import make_plan, make_tracker
from fastvmt.engine.run import quiet_libraries
from fastvmt.methods.transfer import transfer_case
from fastvmt.types import TransferResult


def transfer_clip(video: str | Path, prompt: str, overrides: Sequence[str]) -> TransferResult:
    """See :func:`fastvmt.transfer`."""
    quiet_libraries()
    cfg = composed(overrides, {"video": str(video), "prompt": prompt})
    plan = make_plan(cfg)
    scores = construct(cfg.metrics, "metrics", tracker=make_tracker(cfg))
    backbone = construct(cfg.backbone, "backbone")
    cache = TensorCache(None if cfg.cache_dir is None else Path(cfg.cache_dir))
    result = transfer_case(backbone, plan.method, plan.sampler, plan.cases[0], cache)
    return replace(result, scores=scores(result))
