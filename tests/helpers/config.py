"""Configurations for tests."""

from __future__ import annotations

import pickle
from functools import cache

from omegaconf import DictConfig

from fastvmt import compose


@cache
def once(overrides: tuple[str, ...]) -> bytes:
    """Composed once in a process: to read a pickle takes 1 ms, to copy 6, to compose 170."""
    return pickle.dumps(compose.composed(["output_dir=unused", *overrides]))


def composed(*overrides: str) -> DictConfig:
    """``conf/`` with overrides, the caller's to change; what runs and writes names its own ``output_dir``.

    A folder of a test's own in ``hydra.searchpath`` may change between two calls only if their words differ.
    """
    found: DictConfig = pickle.loads(once(overrides))
    return found
