"""The rows of a sweep: which keys it sweeps, and the name that a job has from their values."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from fastvmt.versions import register_resolver

LONGEST = 100
"""Characters of a name."""
DIGITS = 8
"""Of the hash in a name that does not hold all that the values are."""
SINGLE = "default"
"""The row of a sweep over nothing."""
REHEARSED = ("dry", "plan")
"""Keys of commands that transfer nothing, whose words Hydra notes in the folder all the same."""
GRIDS = ("GridSweeper", "BasicSweeper")
"""Sweepers whose jobs are known before: ours and Hydra's."""


def swept_keys(arguments: Sequence[str]) -> list[str]:
    """List the keys to which the command line gives several values, groups without their package."""
    parser = OverridesParser.create()
    found: list[str] = []
    for word in arguments:
        if word.startswith("-") or "=" not in word:
            continue
        try:
            override = parser.parse_override(word)
        except HydraException:  # words that are taken literally
            continue
        if override.is_sweep_override():
            found.append(override.key_or_group)
    return found


def row_name(values: Mapping[str, str]) -> str:
    """Name a job by its values of the swept keys, e.g. ``delta=1,l=5``.

    A key is cut to its last part where no other ends alike. The name is that of a folder: characters that a folder's
    name should not have are replaced, and a hash of the values then keeps names apart.
    """
    endings = Counter(re.split(r"[./]", key)[-1] for key in values)
    parts = []
    for key, value in values.items():
        ending = re.split(r"[./]", key)[-1]
        parts.append(f"{ending if endings[ending] == 1 else key}={value}")
    whole = ",".join(parts) or SINGLE
    name = re.sub(r"[^A-Za-z0-9._=,\[\]+-]+", "-", whole)
    if name == whole and len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - DIGITS - 1].strip('-')}-{hashlib.sha256(whole.encode()).hexdigest()[:DIGITS]}"


def swept_of(words: Sequence[str], sweeper: Mapping[str, Any]) -> list[str]:
    """List the keys of a sweep: the command line's and those of ``hydra.sweeper``."""
    named = [*(sweeper.get("params") or {}), *(sweeper.get("beside") or {})]
    return list(dict.fromkeys([*words, *(str(key).lstrip("+").partition("@")[0] for key in named)]))


def row_values(swept: Sequence[str], overrides: Sequence[str]) -> dict[str, str]:
    """Give a job's values of the swept keys, in the keys' order, whatever the command's."""
    words = (word.lstrip("+").partition("=") for word in overrides)
    values = {key.partition("@")[0]: value for key, _, value in words}
    return {key: values[key] for key in sorted(set(swept)) if key in values}


def jobs_of(config: DictConfig) -> list[list[str]]:
    """List the overrides of every job of a grid; nothing for a search, whose jobs are not known before."""
    sweeper = config.hydra.sweeper
    if str(sweeper._target_).rpartition(".")[2] not in GRIDS:
        return []
    params, beside = (sweeper.get(name) or {} for name in ("params", "beside"))
    typed = parsed([*words_of(params), *config.hydra.overrides.task])
    overrides = {override.get_key_element(): override for override in typed}  # the last one of a key counts
    if any(each.is_sweep_override() and not each.is_discrete_sweep() for each in overrides.values()):
        return []
    grid = [list(job) for job in itertools.product(*map(values_of, overrides.values()))]
    return [*grid, *jobs_beside(typed, params, beside)]


def jobs_beside(
    overrides: Sequence[Override], params: Mapping[str, Any], beside: Mapping[str, Any] | None
) -> list[list[str]]:
    """List the overrides of the jobs beside a grid: one for each value of each key of ``beside``.

    They have what all jobs of the grid have, and neither what the command line sweeps nor the keys of ``params``, also
    where the command line gives one of those a single value: a table keeps such a row when its grid grows or shrinks.
    """
    shared = {
        each.get_key_element(): values_of(each)[0]
        for each in overrides
        if not each.is_sweep_override() and each.get_key_element() not in params
    }
    alone = [(each.get_key_element(), word) for each in parsed(words_of(beside or {})) for word in values_of(each)]
    return [list((shared | {key: word}).values()) for key, word in alone]


def words_of(params: Mapping[str, Any]) -> list[str]:
    """Write the keys and values of a sweeper as overrides."""
    return [f"{key}={value}" for key, value in params.items()]


def parsed(words: Sequence[str]) -> list[Override]:
    """Read overrides. Raises ``HydraException`` for what Hydra's grammar does not take."""
    found: list[Override] = OverridesParser.create().parse_overrides(list(words))
    return found


def values_of(override: Override) -> list[str]:
    """Write an override once for each of its values."""
    key = override.get_key_element()
    if override.is_sweep_override():
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    return [f"{key}={override.get_value_element_as_str()}"]


def rows_of(config: DictConfig) -> list[str]:
    """Name the rows of a grid, of a composed configuration with its ``hydra`` node.

    Raises ``ValueError`` for words that Hydra cannot read.
    """
    swept = swept_of(config.swept, config.hydra.sweeper)
    try:
        jobs = jobs_of(config)
    except HydraException as error:
        raise ValueError(str(error)) from error
    return [row_name(row_values(swept, job)) for job in jobs]


def row_of(*, _root_: DictConfig) -> str:
    """Resolve ``${row:}``, the name of a job: the keys of the command line, and those of ``hydra.sweeper``."""
    sweeper = OmegaConf.select(_root_, "hydra.sweeper") or {}
    return row_name(row_values(swept_of(_root_.get("swept") or (), sweeper), list(_root_.hydra.overrides.task)))


def register() -> None:
    """Make ``${row:}`` known where ``conf/config.yaml`` is composed."""
    register_resolver("row", row_of)
