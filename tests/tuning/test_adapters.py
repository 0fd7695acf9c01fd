"""What holds for every adapter, on both shapes of attention: it acts while it is installed and leaves nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fastvmt.backbones.base import Backbone
from fastvmt.tuning.adapter import Adapter
from fastvmt.tuning.temporal_conv import Initial
from helpers.adapters import convolutions, embeddings, lora, randomised, velocity
from helpers.transfers import remains


@pytest.fixture(params=["loaded_backbone", "loaded_cogvideox"])
def model(request: pytest.FixtureRequest) -> Backbone:
    return request.getfixturevalue(request.param)


def kinds(model: Backbone) -> list[Adapter]:
    tables = [embeddings(model), embeddings(model, pool=4)]
    paths = [convolutions(model), convolutions(model, Initial.kaiming)]
    return [*tables, *paths, lora(model), lora(model, feed_forward=True, drop=0.5)]


def test_fresh_adapters_change_no_bit(model: Backbone) -> None:
    plain = velocity(model)
    for adapter in kinds(model):
        with adapter.installed(model.blocks):
            assert torch.equal(velocity(model), plain)


def test_adapters_act_while_installed_and_leave_nothing(model: Backbone) -> None:
    plain, before = velocity(model), remains(model.transformer)
    for adapter in kinds(model):
        with randomised(adapter).installed(model.blocks):
            assert not torch.equal(velocity(model), plain)
            assert remains(model.transformer) != before
        with pytest.raises(KeyboardInterrupt), adapter.installed(model.blocks):
            raise KeyboardInterrupt
        assert remains(model.transformer) == before
        assert torch.equal(velocity(model), plain)


def test_a_change_that_fails_takes_the_earlier_ones_along(model: Backbone) -> None:
    before, adapter = remains(model.transformer), lora(model)
    adapter.layers[2, "attn1.missing"] = nn.Identity()
    with pytest.raises(AttributeError), adapter.installed(model.blocks):
        pass
    assert remains(model.transformer) == before
