"""``conf/`` with overrides, for Python code; the command line composes it with ``hydra.main``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fastvmt.compose_errors import explained
from fastvmt.config import VERSION, config_folder
from fastvmt.errors import UserError
from fastvmt.literals import stored


def composed(overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None) -> DictConfig:
    """Compose ``conf/`` as the command line does with the words ``overrides``, then set ``values`` by key.

    Values need no quoting and stay as they are, ``${`` included: paths, prompts. One that is None leaves its key as
    composed. Raises :class:`UserError` for unknown keys and options and for wrong types.
    """
    try:
        with initialize_config_dir(**VERSION, config_dir=str(config_folder())):
            cfg: DictConfig = compose("config", overrides=list(overrides))
        for key, value in (values or {}).items():
            if value is not None:
                OmegaConf.update(cfg, key, stored(value) if isinstance(value, str) else value)
        OmegaConf.to_container(cfg, resolve=True)  # what refers to a key that is not there fails here
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UserError(f"overrides={list(overrides)}: {explained(error, overrides)}") from error
    return cfg
