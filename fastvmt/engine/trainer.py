"""Lightning's trainer, which deals the cases to processes: its settings, checked, and the object."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler
from omegaconf import DictConfig, ListConfig

from fastvmt.construct import check_arguments, class_of, construct
from fastvmt.errors import UserError
from fastvmt.ranks import by_torchrun
from fastvmt.settings import LARGEST_COUNT, check, check_choice, check_range

PROFILERS: dict[str, Any] = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
STRATEGIES = ("auto", "ddp")
"""Every process has the whole model and its own cases: there is nothing to shard."""
MOST_NODES = 1000
MAX_TIME = re.compile(r"(\d{2}):(\d{2}):(\d{2}):(\d{2})")


def time_limit(text: str | None) -> timedelta | None:
    """The time that ``DD:HH:MM:SS`` stands for. Raises ``ValueError`` for anything else, and for none at all."""
    if text is None:
        return None
    found = MAX_TIME.fullmatch(text)
    days, hours, minutes, seconds = map(int, found.groups()) if found else (0, 0, 0, 0)
    limit = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    check(bool(limit), "trainer.max_time", text, "DD:HH:MM:SS, such as 00:12:00:00 for twelve hours, or null")
    return limit


def check_trainer_values(cfg: DictConfig) -> None:
    """Raise :class:`UserError` for a value of ``trainer`` that cannot be; devices aside."""
    try:
        check_values(cfg)
    except ValueError as error:
        raise UserError(str(error)) from error


def check_values(cfg: DictConfig) -> None:
    """As :func:`check_trainer_values`, with ``ValueError`` for numbers and words."""
    if cfg.precision is not None:
        raise UserError(f"trainer.precision={cfg.precision}: precision is the backbone's, set backbone.dtype")
    check_choice("trainer.strategy", cfg.strategy, STRATEGIES)
    check_range("trainer.num_nodes", cfg.num_nodes, 1, MOST_NODES)
    if cfg.profiler is not None:
        check_choice("trainer.profiler", cfg.profiler, tuple(PROFILERS))
    time_limit(cfg.max_time)
    limit = cfg.limit_test_batches
    counted = type(limit) is int and 1 <= limit <= LARGEST_COUNT
    legal = limit is None or counted or (type(limit) is float and 0 < limit <= 1)
    what = f"a count of cases of each process from 1 to {LARGEST_COUNT}, a share in (0, 1], or null"
    check(legal, "trainer.limit_test_batches", limit, what)
    check(isinstance(cfg.callbacks, ListConfig), "trainer.callbacks", cfg.callbacks, "a list of {_target_: class, ..}")
    for key, node in callback_nodes(cfg):
        check(isinstance(node, DictConfig) and "_target_" in node, key, node, "{_target_: class, ..}")
        check_arguments(node, key)
        if not issubclass(class_of(node, key), lightning.Callback):
            raise UserError(f"{key}._target_={node['_target_']} is no lightning.Callback")
    check_ranks(cfg)
    given = HydraConfig.initialized() and any(o.startswith("output_dir=") for o in HydraConfig.get().overrides.task)
    if cfg.num_nodes > 1 and not given:
        shared = "output_dir=<folder> on a disk that all machines share"
        raise UserError(f"trainer.num_nodes={cfg.num_nodes} needs {shared}")


def check_ranks(cfg: DictConfig) -> None:
    """Raise :class:`UserError` for processes of torchrun that would not deal the cases among them."""
    devices = len(cfg.devices) if isinstance(cfg.devices, ListConfig) else cfg.devices
    started = os.environ.get("LOCAL_WORLD_SIZE", "1")
    if by_torchrun() and devices != "auto" and str(devices) != started:
        raise UserError(
            f"trainer.devices={cfg.devices}, but torchrun started {started} processes, and each would run all cases: "
            f"set trainer.devices={started}"
        )


def callback_nodes(cfg: DictConfig) -> list[tuple[str, Any]]:
    """The user's own callbacks by key."""
    return [(f"trainer.callbacks[{i}]", node) for i, node in enumerate(cfg.callbacks)]


def make_trainer(
    cfg: DictConfig, folder: Path, callbacks: Sequence[lightning.Callback], logger: Logger | None
) -> lightning.Trainer:
    """Make what hands out cases, from the node ``trainer``; profiles go to ``folder``."""
    own: list[lightning.Callback] = [construct(node, key) for key, node in callback_nodes(cfg)]
    profiler = None if cfg.profiler is None else PROFILERS[cfg.profiler](dirpath=folder, filename="profile")
    return lightning.Trainer(
        accelerator=cfg.accelerator.value,
        devices=cfg.devices,
        num_nodes=cfg.num_nodes,
        strategy=cfg.strategy,
        limit_test_batches=cfg.limit_test_batches,
        profiler=profiler,
        callbacks=[*own, *callbacks],  # what they log at the end is before W&B's run is closed
        inference_mode=False,  # the guidance needs gradients
        use_distributed_sampler=False,
        logger=logger or False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
