"""What a run needs of the machine, checked before weights load."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from fastvmt.errors import UserError


def check_devices(cfg: DictConfig) -> None:
    """Raise :class:`UserError` for a GPU that is not there."""
    for key in ("backbone.device", "metrics.device"):
        name = str(OmegaConf.select(cfg, key, default="auto"))
        if name.startswith("cuda") and not torch.cuda.is_available():
            raise UserError(f"{key}={name}: torch finds no CUDA device on this machine, set device=auto or device=cpu")


def check_folder(cfg: DictConfig, key: str) -> None:
    """Make the folder that a key names, if it names one. Raises :class:`UserError` if it cannot be written to."""
    if cfg[key] is None:
        return
    try:
        Path(cfg[key]).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cfg[key]):
            pass
    except OSError as error:
        raise UserError(f"{key}={cfg[key]} cannot be written to: {error.strerror}; set {key}=<folder>") from error
