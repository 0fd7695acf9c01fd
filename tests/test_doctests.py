"""The examples of the scores' docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest
import torch

MODULES = ("functional", "published", "frechet", "motion_fidelity")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(f"fastvmt.metrics.{name}")
    done = doctest.testmod(module, extraglobs={"torch": torch})
    assert done.attempted > 0 and done.failed == 0
