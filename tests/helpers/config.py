"""Configurations for tests."""

from __future__ import annotations

from omegaconf import DictConfig

from fastvmt import compose
from helpers.compositions import once


def composed(*overrides: str) -> DictConfig:
    """``conf/`` with overrides, the caller's to change; what runs and writes names its own ``output_dir``.

    Composed once in a session: to read a pickle takes 1 ms, to copy 6, to compose 170. A folder of a test's own in
    ``hydra.searchpath`` may change between two calls only if their words differ.
    """
    found: DictConfig = once(overrides, lambda: compose.composed(["output_dir=unused", *overrides]))
    return found
