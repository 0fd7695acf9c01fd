"""Shortcuts of the unguided steps' denoising passes: diffusers' caches between consecutive steps, and compiled blocks.

A cache stands in for blocks whose output it knows nearly enough from passes of earlier steps: First Block Cache (of
ParaAttention), TaylorSeer (arXiv 2503.06923) and MagCache (arXiv 2506.09045).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import nn

from fastvmt.backbones.block import Block
from fastvmt.settings import LARGEST_COUNT, LARGEST_STEP, check, check_choice, check_range

CACHES = {"first_block": "FirstBlockCacheConfig", "taylorseer": "TaylorSeerCacheConfig", "mag": "MagCacheConfig"}
"""diffusers' settings of each cache, by ``backbone.cache``."""
COMPILES = ("none", "regional")
KEPT = 0.2
"""Share of the denoising steps, from the first on, that MagCache never skips (diffusers' default)."""
COUNTER = "fastvmt_block_runs"
"""Name of our hook among those of diffusers."""


@dataclass(frozen=True)
class Series:
    """Which pass of an unguided step one is: it continues those of the same name in the steps before."""

    name: str
    """``positive``, ``negative`` or, in one batch, ``both``: they share nothing."""
    step: int
    steps: int
    """Of the whole denoising."""


@dataclass(frozen=True)
class Cache:
    """A cache and its numbers; None is diffusers' default."""

    name: str = "none"
    threshold: float | None = None
    interval: int | None = None
    ratios: tuple[float, ...] | None = None
    """Of a model's, evenly spread over a denoising; other caches than MagCache have no use for them."""

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for numbers out of range, and for those of another cache."""
        check_choice("backbone.cache", self.name, ("none", *CACHES))
        numbers = {"threshold": ("first_block", "mag"), "interval": ("taylorseer",)}
        for number, caches in numbers.items():
            value = getattr(self, number)
            key = f"backbone.cache_{number}"
            of = " or ".join(f"backbone.cache={cache}" for cache in caches)
            check(value is None or self.name in ("none", *caches), key, value, f"null, it belongs to {of}")
        if self.threshold is not None:
            check_range("backbone.cache_threshold", self.threshold, 0, LARGEST_STEP)
        if self.interval is not None:
            check_range("backbone.cache_interval", self.interval, 1, LARGEST_COUNT)
        if self.name == "mag":
            given = self.ratios is not None and len(self.ratios) > 1 and all(ratio > 0 for ratio in self.ratios)
            how = "the model's own, positive: measure them with python -m experiments.shortcuts calibrate"
            check(given, "backbone.cache_ratios", self.ratios, how)

    @classmethod
    def of(cls, backbone: Mapping[str, Any]) -> Cache:
        """That of a configuration's node. Raises as the constructor does."""
        ratios = backbone.get("cache_ratios")
        return cls(
            backbone.get("cache", "none"),
            backbone.get("cache_threshold"),
            backbone.get("cache_interval"),
            None if ratios is None else tuple(ratios),
        )

    def check_installed(self) -> None:
        """Raise ``ValueError`` where diffusers has not got the cache."""
        from diffusers import hooks  # takes seconds

        there = self.name == "none" or hasattr(hooks, CACHES[self.name])
        check(there, "backbone.cache", self.name, "none: the installed diffusers has no such cache")

    def config(self, series: Series) -> Any:
        """diffusers' settings of a series that begins with this pass."""
        from diffusers import hooks
        from diffusers.hooks.mag_cache import nearest_interp

        own = {"threshold": self.threshold, "cache_interval": self.interval}
        numbers: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
        if self.name == "taylorseer":  # lite: what leaves the last block is foretold, and no block runs
            numbers |= {"use_lite_mode": True, "taylor_factors_dtype": torch.float32}
        if self.name == "mag":
            left = series.steps - series.step
            ratios = nearest_interp(torch.tensor(self.ratios), series.steps)[series.step :]
            kept = max(0, ceil(KEPT * series.steps) - series.step) / left
            numbers |= {"mag_ratios": ratios, "num_inference_steps": left, "retention_ratio": kept}
        return getattr(hooks, CACHES[self.name])(**numbers)


class Shortcuts:
    """Those of a model's transformers. Between the passes of a series the hooks stay; :meth:`end` takes them away."""

    def __init__(self, cache: Cache, compiled: bool) -> None:
        """Raises ``ValueError`` for a cache that diffusers lacks."""
        cache.check_installed()
        self.cache = cache
        self.compiled = compiled
        self.hooked: list[tuple[Any, Sequence[Block]]] = []
        """Transformers with their blocks that have hooks at the moment."""
        self.made: dict[int, list[nn.Module]] = {}
        """Compiled blocks by the address of their transformer."""
        self.ran = 0
        """Blocks that ran since hooks were put in place."""

    @property
    def caching(self) -> bool:
        """Whether there is a cache."""
        return self.cache.name != "none"

    @contextmanager
    def case(self) -> Iterator[None]:
        """What passes share does not outlast the context."""
        try:
            yield
        finally:
            self.end()

    @contextmanager
    def cached(self, transformer: Any, blocks: Sequence[Block], series: Series) -> Iterator[None]:
        """Within the context a pass takes from the cache what the passes before left there, and leaves its own."""
        if not any(transformer is known for known, _ in self.hooked):
            self._begin(transformer, blocks, series)
        with transformer.cache_context(series.name):
            yield

    def _begin(self, transformer: Any, blocks: Sequence[Block], series: Series) -> None:
        from diffusers.hooks.hooks import HookRegistry, ModelHook

        shortcuts = self

        class Counter(ModelHook):
            """Lies below the cache's hooks: what the cache skips does not reach it."""

            def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
                shortcuts.ran += 1
                return args, kwargs

        self.hooked.append((transformer, blocks))
        for block in blocks:
            HookRegistry.check_if_exists_or_initialize(block.module).register_hook(Counter(), COUNTER)
        transformer.enable_cache(self.cache.config(series))

    def end(self) -> None:
        """Forget what is cached, and leave the transformers without hooks."""
        while self.hooked:
            transformer, blocks = self.hooked.pop()
            if transformer.is_cache_enabled:
                transformer.disable_cache()
            for block in blocks:
                registry: Any = block.module._diffusers_hook
                registry.remove_hook(COUNTER, recurse=False)

    def compiled_of(self, transformer: Any, blocks: Sequence[Block]) -> list[nn.Module]:
        """The transformer's blocks, compiled one by one at their first call; those that gradients pass stay as is."""
        if id(transformer) not in self.made:
            compiled: list[Any] = [torch.compile(block.module, dynamic=False) for block in blocks]
            self.made[id(transformer)] = compiled
        return self.made[id(transformer)]
