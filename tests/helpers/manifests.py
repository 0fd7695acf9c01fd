"""A shape of small clips, and the cases of a manifest read at it."""

from __future__ import annotations

from pathlib import Path

from fastvmt.benchmarks import ManifestBenchmark
from fastvmt.types import ClipShape

SHAPE = ClipShape(9, 48, 48, 2)
"""Clips of 9 frames, 2 k + 1."""


def loaded(path: Path, **options) -> ManifestBenchmark:
    how = {"sample_seed": 0, "cut_policy": "ignore"} | options  # synthetic clips may look cut to a network
    return ManifestBenchmark(SHAPE, 8.0, path=str(path), **how)
