"""What a video depends on: numbers of windows where there are any, and nothing that no one reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from fastvmt.engine.identity import OF_WINDOWS, OPTION, config_hash, decides, flat, leaves
from fastvmt.methods.fastvmt import FastVMT
from fastvmt.methods.released import ReleasedFastVMT
from fastvmt.motion.switches import Switches
from fastvmt.settings import Guidance, Skip, TileQuery, Window
from helpers.config import composed

CHANGES = ("window.tile=[3,4]", "window.query=mean", "window.centre_gradient=false", "guidance.window_weight=0.5")
"""Each of what only windows read, other than tiny-wan's."""
METHODS = ("fastvmt", "fastvmt_released")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("method", METHODS)
def test_a_dense_flow_has_one_key_whatever_windows_would_read(method: str, change: str) -> None:
    dense = (f"method={method}", "window.l=0")
    assert config_hash(composed(*dense, change)) == config_hash(composed(*dense))
    assert config_hash(composed(*dense, "window.tau=2.0")) != config_hash(composed(*dense))
    assert config_hash(composed(f"method={method}", change)) != config_hash(composed(f"method={method}"))


def undropped(cfg: DictConfig) -> dict[str, Any]:
    """All that decides, but for the backbone's option that is off."""
    found = flat(OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))
    return {key: value for key, value in found.items() if decides(key) and not key.startswith(OPTION)}


@pytest.mark.parametrize("method", METHODS)
def test_windows_keep_the_keys_that_they_had(method: str) -> None:
    windows = composed(f"method={method}", "window.l=3")
    assert leaves(windows) == undropped(windows)
    dense = composed(f"method={method}", "window.l=0")
    assert undropped(dense).keys() - leaves(dense).keys() == set(OF_WINDOWS)


def test_a_class_of_the_users_own_may_read_a_tile_without_windows() -> None:
    cfg = composed("window.l=0")
    cfg.method._target_ = "mylab.Mine"
    assert leaves(cfg) == undropped(cfg)


@pytest.mark.parametrize(
    "method_of",
    [
        lambda window, guidance: FastVMT(window, Skip(), guidance),
        lambda window, guidance: ReleasedFastVMT(window, Skip(), guidance, Switches(self_pairs=True)),
    ],
    ids=METHODS,
)
def test_a_dense_flow_reads_none_of_them(method_of: Callable[[Window, Guidance], FastVMT]) -> None:
    q, k = torch.randn(2, 4, 12, 2, 8, generator=torch.Generator().manual_seed(0)).unbind(0)

    def losses(window: Window, guidance: Guidance) -> dict[str, torch.Tensor]:
        method = method_of(window, guidance)
        reference, _ = method.motion(k, q, (4, 3, 4))
        return method.loss(*method.motion(q, k, (4, 3, 4)), reference)

    base = losses(Window(l=0, tile=[3, 4]), Guidance(window_weight=1.0))
    others = Window(l=0, tile=[2, 2], query=TileQuery.mean, centre_gradient=True)
    assert base == losses(others, Guidance(window_weight=0.0)) and set(base) == {"amf"}
    assert set(losses(Window(l=3, tile=[2, 2]), Guidance())) == {"amf", "window"}
