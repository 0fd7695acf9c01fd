"""Every yaml of ``conf/`` composes, and what it names can be constructed."""

from __future__ import annotations

import inspect

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import OmegaConf

from fastvmt.config import config_folder
from fastvmt.settings import Guidance, Sampler, Skip, Window

CONF = config_folder()
OPTIONS = sorted(
    (file.parent.name, file.stem) for file in CONF.glob("*/*.yaml") if file.parent.name not in ("hydra", "help")
)
NUMBERS = {"window": Window, "skip": Skip, "guidance": Guidance, "sampler": Sampler}


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes(group, option):
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        cfg = compose("config", overrides=[f"{group}={option}", "output_dir=unused"])
    if group in NUMBERS:
        assert isinstance(OmegaConf.to_object(cfg[group]), NUMBERS[group])
    elif group != "experiment" and "_target_" in cfg[group]:
        parameters = inspect.signature(get_class(cfg[group]._target_)).parameters
        assert {key for key in cfg[group] if key != "_target_"} <= set(parameters)


def test_yaml_presets_of_tiny_wan_are_the_defaults_of_the_dataclasses():
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        cfg = compose("config", overrides=["output_dir=unused"])
    for group, kind in NUMBERS.items():
        assert OmegaConf.to_object(cfg[group]) == kind()


def test_the_numbers_of_wan_are_the_papers():
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        cfg = compose("config", overrides=["backbone=wan_1_3b", "output_dir=unused"])
    assert (cfg.window.l, cfg.window.sf, list(cfg.window.tile), cfg.skip.delta) == (21, 4, [3, 4], 3)
    assert (cfg.guidance.fraction, cfg.guidance.iterations, cfg.guidance.block) == (0.2, 10, 14)
    assert (cfg.guidance.lr, cfg.guidance.lr_end) == (0.003, 0.002)
    assert (cfg.guidance.amf_weight, cfg.guidance.window_weight, cfg.guidance.alpha) == (5.0, 1.0, 0.2)
    assert (cfg.sampler.steps, cfg.sampler.shift, cfg.sampler.cfg_scale) == (50, 7.0, 5.8)


def test_experiments_override_what_they_name():
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        smoke = compose("config", overrides=["experiment=smoke", "output_dir=unused"])
        world = compose("config", overrides=["experiment=world", "output_dir=unused"])
    assert (smoke.sampler.steps, smoke.guidance.iterations) == (4, 2)
    assert world.benchmark.cases == 24


@pytest.mark.parametrize(
    ("overrides", "model"),
    [
        ([], "tiny-clip"),
        (["metrics=fast"], "tiny-clip"),
        (["backbone=wan_1_3b"], None),
        (["backbone=wan_14b"], None),
        (["metrics=vbench"], None),
        (["backbone=wan_1_3b", "metrics.clip.model=ViT-B-32.pt"], "ViT-B-32.pt"),
    ],
)
def test_the_clip_model_follows_the_backbone(overrides, model):
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        cfg = compose("config", overrides=[*overrides, "output_dir=unused"])
    assert cfg.metrics.clip.model == model and cfg.metrics.clip.architecture == "ViT-B-32-quickgelu"
