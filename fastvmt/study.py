"""What a sweep does before its first job and after its last: Hydra calls it, whatever launches the jobs.

Before: it tells rows that cannot differ, since no method reads what they sweep. After: it makes the table of all rows
of the folder that are finished.
"""

from __future__ import annotations

import itertools
import logging
import sys
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fastvmt.sweep import row_name, row_values, swept_of

log = logging.getLogger(__name__)
MOST = 64
"""Rows that are composed to compare them, at a quarter of a second each."""


class Study(Callback):
    """The sweep as a whole."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Warn of rows that cannot differ."""
        for names in alike(config):
            log.warning("rows that cannot differ, nothing reads what they sweep: %s", "; ".join(names))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Make the table of the rows that are finished."""
        if config.get("dry") or config.get("plan"):
            return
        from fastvmt.studies.table_command import FORMS, make_table, short_table

        folder = Path(config.hydra.sweep.dir)
        try:
            make_table([folder], None, folder)
            sys.stdout.write(f"\n{short_table(folder)}\nwritten: {folder}/table.{{{','.join(FORMS)}}}\n")
        except (ValueError, OSError) as error:
            sys.stderr.write(f"fastvmt: no table: {error}\n")


def jobs_of(config: DictConfig) -> list[list[str]]:
    """List the overrides of every job of a grid; nothing for a search, whose jobs are not known before."""
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    typed = OverridesParser.create().parse_overrides([*params, *config.hydra.overrides.task])
    overrides = {override.get_key_element(): override for override in typed}  # the last one of a key counts
    if any(each.is_sweep_override() and not each.is_discrete_sweep() for each in overrides.values()):
        return []
    return [list(job) for job in itertools.product(*map(values_of, overrides.values()))]


def values_of(override: Override) -> list[str]:
    """Write an override once for each of its values."""
    key = override.get_key_element()
    if override.is_sweep_override():
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    return [f"{key}={override.get_value_element_as_str()}"]


def alike(config: DictConfig) -> list[list[str]]:
    """Group the names of rows whose videos would be the same; not of searches and very large sweeps."""
    if "BasicSweeper" not in config.hydra.sweeper._target_ or not 1 < len(jobs := jobs_of(config)) <= MOST:
        return []
    from fastvmt.engine.identity import leaves  # imports torch

    swept = swept_of(config.swept, config.hydra.sweeper.get("params"))
    loader = GlobalHydra.instance().config_loader()
    found: dict[str, list[str]] = {}
    for job in jobs:
        try:
            whole = loader.load_sweep_config(config, job)
            what = leaves(OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"]))
        except (HydraException, OmegaConfBaseException, ValueError):
            continue  # the job itself tells what is wrong with it
        found.setdefault(repr(sorted(what.items(), key=str)), []).append(row_name(row_values(swept, job)))
    return [names for names in found.values() if len(names) > 1]
