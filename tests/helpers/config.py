"""Configurations for tests."""

from __future__ import annotations

from omegaconf import DictConfig

from fastvmt import compose


def composed(*overrides: str) -> DictConfig:
    """``conf/`` with overrides; what runs and writes names its own ``output_dir``."""
    return compose.composed(["output_dir=unused", *overrides])
