"""Two models of one process: an attention backend belongs to the one that asked for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fastvmt.backbones.wan import WanBackbone
from fastvmt.schedule import seeded_noise
from helpers.random_models import SMALL


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the backends that attentions were computed with."""
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry as Registry

    names: list[str] = []
    for name, function in list(Registry._backends.items()):

        def noted(*args: object, _name: str = name.value, _function=function, **kwargs: object) -> torch.Tensor:
            names.append(_name)
            return _function(*args, **kwargs)

        monkeypatch.setitem(Registry._backends, name, noted)
    return names


@pytest.mark.parametrize("order", [("native", "_native_math"), ("_native_math", "native")])
def test_two_models_keep_their_own_backends(random_wan: Path, used: list[str], order: tuple[str, str]) -> None:
    models = {name: WanBackbone(str(random_wan), name=name, attention=name, **SMALL) for name in order}
    for name in ("native", "_native_math"):
        backbone = models[name]
        used.clear()
        backbone.velocity(seeded_noise(backbone.layout.latent_shape, 0, backbone.device), 0.5, backbone.embed("a dog"))
        assert set(used) == {name}
