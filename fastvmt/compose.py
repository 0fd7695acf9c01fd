"""``conf/`` with overrides, for Python code; the command line composes it with ``hydra.main``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fastvmt.compose_errors import explained
from fastvmt.config import config_folder
from fastvmt.errors import UserError
from fastvmt.literals import stored
from fastvmt.named_row import check_row
from fastvmt.versions import BASE

PRESETS = ("preset", "method/preset", "experiment/preset", "row/preset")
"""Groups that Hydra leaves out without a word where there is no such option: most models have none of their own."""


def check_presets(words: Sequence[str]) -> None:
    """Raise :class:`UserError` for a preset that ``words`` name and that is not there, while Hydra is set up."""
    for word in words:
        key, _, name = word.lstrip("+").partition("=")
        group = key.partition("@")[0]
        if group in PRESETS and name not in (found := options_of(group, words)):
            raise UserError(f"{key}={name} does not exist: set {key} to one of {', '.join(found)}")


def options_of(group: str, words: Sequence[str]) -> list[str]:
    """The options of a group in all folders where Hydra looks under the overrides ``words``; ``none`` is one."""
    loader = GlobalHydra.instance().config_loader()
    return sorted({"none", *loader.get_group_options(group, ObjectType.CONFIG, "config", list(words))})


def own_folder(words: Sequence[str]) -> Path | None:
    """The folder of the user's own yaml files that ``--config-dir`` names."""
    for i, word in enumerate(words):
        key, equals, value = word.partition("=")
        if key in ("--config-dir", "-cd"):
            return Path(value if equals else words[i + 1]).absolute() if equals or i + 1 < len(words) else None
    return None


def mode_words(words: Sequence[str]) -> list[str]:
    """Give ``hydra.mode`` as a word, where the experiment among a command line's words has one.

    Hydra 1.3 hears an experiment's own mode; 1.4 reads it from the command line alone.
    """
    chosen = [word for word in words if word.partition("=")[0].lstrip("+") in ("experiment", "hydra.searchpath")]
    told = any(word in ("-m", "--multirun") or word.startswith("hydra.mode=") for word in words)
    if BASE or told or not chosen:
        return []
    if own := own_folder(words):
        chosen.append(f"hydra.searchpath=[file://{own}]")
    try:
        with initialize_config_dir(config_dir=str(config_folder())):
            mode = compose("config", overrides=chosen, return_hydra_config=True).hydra.mode
    except HydraException:  # Hydra itself will say it
        return []
    return [] if mode is None else [f"hydra.mode={mode.name}"]


def composed(overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None) -> DictConfig:
    """Compose ``conf/`` as the command line does with the words ``overrides``, then set ``values`` by key.

    Values need no quoting and stay as they are, ``${`` included: paths, prompts. One that is None leaves its key as
    composed. Raises :class:`UserError` for unknown keys and options and for wrong types.
    """
    try:
        with initialize_config_dir(**BASE, config_dir=str(config_folder())):
            cfg: DictConfig = compose("config", overrides=list(overrides))
            check_presets(overrides)
            check_row(overrides)
        for key, value in (values or {}).items():
            if value is not None:
                OmegaConf.update(cfg, key, stored(value) if isinstance(value, str) else value)
        OmegaConf.to_container(cfg, resolve=True)  # what refers to a key that is not there fails here
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UserError(f"overrides={list(overrides)}: {explained(error, overrides)}") from error
    return cfg
