"""Which of a backbone's shortcuts a run leaves a place for."""

from __future__ import annotations

from omegaconf import DictConfig

from fastvmt.backbones.shortcuts import COMPILES, Cache
from fastvmt.methods.base import Method
from fastvmt.settings import Sampler, check, check_choice


def check_shortcuts(cfg: DictConfig, method: Method, sampler: Sampler) -> None:
    """Raise ``ValueError`` for shortcuts that cannot be, or not beside what else is asked for."""
    cache = Cache.of(cfg.backbone)
    compiled = cfg.backbone.get("compile", COMPILES[0])
    check_choice("backbone.compile", compiled, COMPILES)
    if cache.name != "none":
        others = {
            f"{method.repeats}, which repeats steps": method.repeats is not None,
            f"checkpoint_steps={cfg.checkpoint_steps}, whose states hold no cache": cfg.checkpoint_steps is not None,
            f"sampler.negative_every={sampler.negative_every}": cache.name == "mag" and sampler.negative_every > 1,
            f"backbone.compile={compiled}": compiled != "none",
        }
        for other, there in others.items():
            check(not there, "backbone.cache", cache.name, f"none beside {other}")
    legal = f"none with method={method.name}, which changes the blocks that would be compiled"
    check(compiled == "none" or not method.changes_blocks, "backbone.compile", compiled, legal)
