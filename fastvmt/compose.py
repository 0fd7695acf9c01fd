"""Composing ``conf/`` from Python, as the command line does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from fastvmt.config import config_folder
from fastvmt.errors import UserError


def composed(overrides: Sequence[str], values: Mapping[str, Any] | None = None) -> DictConfig:
    """Compose ``conf/`` with the command line's overrides, then set values by key, which need no quoting.

    Values that are None stay as they are. Raises :class:`UserError` for unknown options.
    """
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        try:
            cfg: DictConfig = compose("config", overrides=list(overrides))
        except HydraException as error:
            raise UserError(f"overrides={list(overrides)}: {' '.join(str(error).split())}") from error
    for key, value in (values or {}).items():
        if value is not None:
            OmegaConf.update(cfg, key, value)
    return cfg
