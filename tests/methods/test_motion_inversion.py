"""Motion Inversion's tables of values: what is stored, and what sampling makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fastvmt.backbones.wan import WanBackbone
from fastvmt.cache import TensorCache
from fastvmt.types import TransferCase
from helpers.methods import inversion_method
from helpers.transfers import captioned_case, job_for, same, transfer


@pytest.fixture(scope="session")
def case() -> TransferCase:
    return captioned_case()


def test_value_tables_of_motion_inversion(backbone: WanBackbone, case: TransferCase, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    results = [
        transfer(backbone, inversion_method(value=kind), case, cache) for kind in ("difference", "none", "whole")
    ]
    assert cache.misses == 1  # tuned once, sampled in three ways
    assert not same(results[0], results[1]) and not same(results[0], results[2]) and not same(results[1], results[2])
    (file,) = tmp_path.glob("*.safetensors")
    stored = load_file(file)
    assert {name: tuple(value.shape) for name, value in stored.items()} == {
        f"blocks.{b}.{kind}": shape
        for b in (1, 2)
        for kind, shape in (("query_key", (5, 1, 48)), ("value", (5, 6, 6, 48)))
    }
    value = stored["blocks.1.value"]
    adapter = inversion_method().sampler_adapter(job_for(backbone, case), stored)
    expected = torch.stack([value[0], *(value[t] - value[t - 1] for t in range(1, 5))])
    torch.testing.assert_close(adapter.tensors()["blocks.1.value"], expected)
    torch.testing.assert_close(adapter.tensors()["blocks.1.query_key"], stored["blocks.1.query_key"])
