"""Docstrings of the metrics: their examples are true, and every score has one, a range and a source."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from collections.abc import Callable

import pytest
import torch

import fastvmt.score
import fastvmt.world
from fastvmt.score import (
    aesthetic,
    consistency,
    dynamic,
    flicker,
    frechet,
    functional,
    motion_fidelity,
    published,
    similarity,
    smoothness,
)
from fastvmt.world import trajectory

SCORES = [
    functional.motion_fidelity,
    functional.dynamic_fidelity,
    similarity.text_similarity,
    consistency.temporal_consistency,
    motion_fidelity.score_motion,
    motion_fidelity.score_true_motion,
    motion_fidelity.score_published,
    published.paper,
    published.compat_smm,
    published.compat_ditflow,
    published.compat_det,
    frechet.frechet_similarity,
    frechet.trajectory_recall,
    frechet.hybrid,
    trajectory.trajectory_cosine,
    consistency.consistency,
    consistency.det_consistency,
    aesthetic.aesthetic_quality,
    dynamic.dynamic_degree,
    dynamic.video_dynamics,
    flicker.temporal_flickering,
    smoothness.interpolation_score,
    smoothness.motion_smoothness,
]
"""Every public function that computes a score."""
PLACES = (fastvmt.score, fastvmt.world)
MODULES = sorted(
    f"{place.__name__}.{module.name}" for place in PLACES for module in pkgutil.iter_modules(place.__path__)
)
WITH_EXAMPLES = {
    "functional",
    "published",
    "frechet",
    "aesthetic",
    "consistency",
    "dynamic",
    "flicker",
    "metric",
    "motion_fidelity",
    "similarity",
    "smoothness",
    "trajectory",
}


@pytest.mark.parametrize("name", MODULES, ids=MODULES)
def test_examples(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name), extraglobs={"torch": torch})
    assert found.failed == 0
    assert found.attempted > 0 or name.split(".")[-1] not in WITH_EXAMPLES


@pytest.mark.parametrize("score", SCORES, ids=[f"{score.__module__}.{score.__name__}" for score in SCORES])
def test_every_score_has_an_example_a_range_and_a_source(score: Callable[..., object]) -> None:
    said = score.__doc__ or ""
    assert ">>> " in said
    assert re.search(r"\branges?\b|[\[({]-?[\d.]+, -?[\d.]+[\])}]", said, re.IGNORECASE)
    assert re.search(r"et al\.|own definition", said, re.IGNORECASE)
