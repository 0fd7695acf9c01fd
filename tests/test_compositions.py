"""A sweep's jobs are composed once, and what one of them changes reaches no other."""

from __future__ import annotations

import pickle

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf

from fastvmt import compose, compositions
from fastvmt.compositions import compose_once
from fastvmt.config import config_folder
from fastvmt.errors import UserError
from helpers import compositions as shared
from helpers.config import composed


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """The loader of a sweep; it notes what it composes."""
    composed()  # registers what the yaml files name
    with initialize_config_dir(str(config_folder()), version_base=None):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", ["swept=[window.l]"], run_mode=None)
        made: list[list[str]] = []
        load = ConfigLoaderImpl.load_sweep_config

        def noted(self, master_config, sweep_overrides):  # type: ignore[no-untyped-def]
            made.append(sweep_overrides)
            return load(self, master_config, sweep_overrides)

        monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", noted)
        compose_once(loader)
        yield loader, master, made


def test_a_job_is_composed_once_and_is_its_own(loader) -> None:
    loader, master, made = loader
    first = loader.load_sweep_config(master, ["window.l=3"])
    expected = OmegaConf.to_container(first)
    first.window.l = 7
    second = loader.load_sweep_config(master, ["window.l=3"])
    assert OmegaConf.to_container(second) == expected
    second.window.l = 9
    assert loader.load_sweep_config(master, ["window.l=3"]).window.l == 3
    assert loader.load_sweep_config(master, ["window.l=5"]).window.l == 5
    assert loader.load_sweep_config.kept(master, ["window.l=5"]).window.l == 5
    assert made == [["window.l=3"], ["window.l=5"]]


def test_what_cannot_be_composed_is_told_each_time(loader) -> None:
    loader, master, made = loader
    for _ in range(2):
        with pytest.raises(HydraException, match=r"nothing"):
            loader.load_sweep_config(master, ["method=nothing"])
    assert len(made) == 2


def test_no_more_than_so_many_are_kept_and_none_are_sent_to_other_processes(
    loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, master, made = loader
    monkeypatch.setattr(compositions, "MOST", 1)
    for l in (3, 5, 3, 5):
        assert loader.load_sweep_config(master, [f"window.l={l}"]).window.l == l
    assert made == [["window.l=3"], ["window.l=5"], ["window.l=5"]]
    kept = loader.load_sweep_config
    there = pickle.loads(pickle.dumps(kept))
    assert list(kept.known) == [("window.l=3",)] and there.known == {}
    assert there.loader.load_sweep_config is there


def test_what_tests_share_of_a_composition_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the options, whatever values are set; words that cannot be composed are told as if nothing were shared."""
    base = ["output_dir=unused", "method=ditflow"]
    words, wrong = [*base, "window={l: 3}", "seed=1"], [*base, "window.l=3", "nosuch=1"]
    compose.composed(words).method.iterations = 99
    again = compose.composed([*base, "window={l: 3}", "seed=2"])
    with pytest.raises(UserError) as told:
        compose.composed(wrong)
    monkeypatch.setattr(shared, "kept", {})
    monkeypatch.delenv(shared.SHARED, raising=False)
    assert again == compose.composed([*words, "seed=2"]) != compose.composed(words)
    with pytest.raises(UserError) as alone:
        compose.composed(wrong)
    assert str(told.value) == str(alone.value) and "nosuch" in str(told.value)
