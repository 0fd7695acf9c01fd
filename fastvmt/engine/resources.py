"""What a run needs of the machine, checked before weights load."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from fastvmt.engine.identity import flat
from fastvmt.errors import UserError
from fastvmt.files import try_writing
from fastvmt.terminal import harmless

LONGEST_NAME = 255
"""Bytes of a file's name."""
PROMPTS = ("prompt", "negative_prompt", "reference_prompt")
"""Keys of any length."""


def check_names(cfg: DictConfig) -> None:
    """Raise :class:`UserError` for words that are no text, or, prompts aside, that no file could be called."""
    for key, value in flat(OmegaConf.to_container(cfg, resolve=True)).items():
        if isinstance(value, str) and not is_text(value):
            raise UserError(f"{key}={harmless(value)} has bytes that are no UTF-8: type it, or name the file, in UTF-8")
        longest = max((len(os.fsencode(name)) for name in str(value).split("/")), default=0)
        if key not in PROMPTS and isinstance(value, str) and longest > LONGEST_NAME:
            raise UserError(f"{key}={value[:20]}... has a name of {longest} bytes: names have at most {LONGEST_NAME}")


def is_text(words: str) -> bool:
    """Whether words can be encoded: bytes of a command line that are no UTF-8 come as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in words)


def check_devices(cfg: DictConfig) -> None:
    """Raise :class:`UserError` for a GPU that is not there."""
    for key in ("backbone.device", "metrics.device", "tracker.device"):
        name = str(OmegaConf.select(cfg, key, default="auto"))
        if name.startswith("cuda") and not torch.cuda.is_available():
            raise UserError(f"{key}={name}: torch finds no CUDA device on this machine, set device=auto or device=cpu")


def check_trainer(cfg: DictConfig) -> None:
    """Raise :class:`UserError` for an accelerator, or a number of devices, that this machine has not got."""
    kind = cfg.trainer.accelerator.value
    devices = cfg.trainer.devices
    gpus = torch.cuda.device_count()
    if kind == "gpu" and not gpus:
        raise UserError("trainer.accelerator=gpu: torch finds no GPU on this machine, set trainer.accelerator=auto")
    on_gpu = kind != "cpu" and gpus > 0
    there = gpus if on_gpu else os.cpu_count() or 1
    if isinstance(devices, ListConfig) and not on_gpu:
        raise UserError(f"trainer.devices={devices}: a CPU has no numbers, set trainer.devices=<how many processes>")
    highest = max(devices) + 1 if isinstance(devices, ListConfig) else 1 if devices == "auto" else int(devices)
    if highest > there:
        what = "GPUs, counted from 0" if on_gpu else "CPU cores"
        raise UserError(f"trainer.devices={devices}: this machine has {there} {what}; set trainer.devices=1")


def check_folder(cfg: DictConfig, key: str) -> None:
    """Make the folder that a key names, if it names one. Raises :class:`UserError` if it cannot be written to."""
    if cfg[key] is None:
        return
    try:
        Path(cfg[key]).mkdir(parents=True, exist_ok=True)
        try_writing(Path(cfg[key]))
    except OSError as error:
        raise UserError(f"{key}={cfg[key]} cannot be written to: {error.strerror}; set {key}=<folder>") from error
