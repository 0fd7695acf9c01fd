"""A layout for small clips, and the cases of a manifest read at it."""

from __future__ import annotations

from pathlib import Path

from fastvmt.backbones.layout import Layout
from fastvmt.benchmarks import ManifestBenchmark

LAYOUT = Layout("wan", 9, 48, 48, 3, 2, 4, 4, (1, 2, 2), 2)
"""Clips of 9 frames, 2 k + 1."""


def loaded(path: Path, **options) -> ManifestBenchmark:
    return ManifestBenchmark(LAYOUT, 8.0, options.pop("sample_seed", 0), path=str(path), **options)
