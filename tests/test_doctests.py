"""The examples in the docstrings of the metrics are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import torch

import fastvmt.metrics

MODULES = sorted(module.name for module in pkgutil.iter_modules(fastvmt.metrics.__path__))
WITH_EXAMPLES = {
    "functional",
    "published",
    "frechet",
    "aesthetic",
    "consistency",
    "dynamic",
    "flicker",
    "motion_fidelity",
    "similarity",
    "smoothness",
}


@pytest.mark.parametrize("name", MODULES, ids=[f"metrics.{name}" for name in MODULES])
def test_examples(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"fastvmt.metrics.{name}"), extraglobs={"torch": torch})
    assert found.failed == 0
    assert found.attempted > 0 or name not in WITH_EXAMPLES
