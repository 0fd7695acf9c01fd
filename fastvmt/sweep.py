"""The rows of a sweep: which keys it sweeps, and the name that a job has from their values."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
ALONE = ("hydra/sweeper=grid", "hydra.sweeper.params=null", "hydra.sweeper.beside=null")
"""Words with which an experiment sweeps nothing of its own."""
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


def swept_of(words: Sequence[str], sweeper: Mapping[str, Any], job: Sequence[str]) -> list[str]:
    """List the keys that name a job: what the command line sweeps and ``params``, or of a job beside them its own.

    ``words`` are the keys that the command line sweeps, ``job`` the overrides of the job.
    """
    params, beside = (list(dict.fromkeys(map(bare, words_in(sweeper, name)))) for name in ("params", "beside"))
    swept = [*dict.fromkeys([*words, *params])]
    has = {bare(word) for word in job}
    return swept if has & set(params or words) else [*(key for key in swept if key in has), *beside]


def bare(word: str) -> str:
    """Give the key of an override, without its package."""
    return word.lstrip("+").partition("=")[0].partition("@")[0]


def row_values(swept: Sequence[str], overrides: Sequence[str]) -> dict[str, str]:
    """Give a job's values of the swept keys, in the keys' order, whatever the command's."""
    values = {bare(word): word.partition("=")[2] for word in overrides}
    return {key: values[key] for key in sorted(set(swept)) if key in values}


def job_values(words: Sequence[str], sweeper: Mapping[str, Any], job: Sequence[str]) -> dict[str, str]:
    """Give the values that name a job, as :func:`swept_of` and :func:`row_values` do."""
    return row_values(swept_of(words, sweeper, job), job)


def jobs_of(config: DictConfig) -> list[list[str]]:
    """List the overrides of every job of a grid; nothing for a search, whose jobs are not known before."""
    sweeper = config.hydra.sweeper
    if str(sweeper._target_).rpartition(".")[2] not in GRIDS:
        return []
    params = words_in(sweeper, "params")
    overrides = last_of_each(parsed([*params, *config.hydra.overrides.task]))
    if any(each.is_sweep_override() and not each.is_discrete_sweep() for each in overrides.values()):
        return []
    return [*combinations(overrides.values()), *jobs_beside(overrides, params, words_in(sweeper, "beside"))]


def jobs_beside(overrides: Mapping[str, Override], params: Sequence[str], beside: Sequence[str]) -> list[list[str]]:
    """List the overrides of the jobs beside a grid: one for each value of each word of ``beside``.

    They have what is the same in the whole grid, and nothing of the grid itself: not the keys of ``params``, also where
    the command line gives one of them a single value, as a table keeps such a row when its grid grows or shrinks.
    What the command line sweeps over a grid of ``params``, such as several backbones, they go through as well; without
    ``params`` that is the grid.
    """
    grid = {bare(word) for word in params}
    shared = {
        key: each
        for key, each in overrides.items()
        if bare(key) not in grid and (params or not each.is_sweep_override())
    }
    alone = dict.fromkeys((each.get_key_element(), word) for each in parsed(beside) for word in values_of(each))
    return [
        [*job, word] for key, word in alone for job in combinations(each for own, each in shared.items() if own != key)
    ]


def combinations(overrides: Iterable[Override]) -> list[list[str]]:
    """List every combination of the overrides' values."""
    return [list(job) for job in itertools.product(*map(values_of, overrides))]


def last_of_each(overrides: Sequence[Override]) -> dict[str, Override]:
    """Map keys to their overrides: the last one of a key counts."""
    return {override.get_key_element(): override for override in overrides}


def words_in(sweeper: Mapping[str, Any], name: str) -> list[str]:
    """List the overrides in a sweeper's ``params``, by key, or ``beside``, which is a list of words or one."""
    found = sweeper.get(name) or []
    if isinstance(found, Mapping):
        return [f"{key}={value}" for key, value in found.items()]
    return [found] if isinstance(found, str) else list(map(str, found))


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
    try:
        jobs = jobs_of(config)
    except HydraException as error:
        raise ValueError(str(error)) from error
    return [row_name(job_values(config.swept, config.hydra.sweeper, job)) for job in jobs]


def row_of(*, _root_: DictConfig) -> str:
    """Resolve ``${row:}``, the name of a job."""
    sweeper = OmegaConf.select(_root_, "hydra.sweeper") or {}
    return row_name(job_values(_root_.get("swept") or (), sweeper, list(_root_.hydra.overrides.task)))


def searching(sweeper: Mapping[str, Any]) -> bool:
    """Whether the jobs are trials of a search."""
    return "direction" in sweeper


def rehearsed(config: Mapping[str, Any]) -> bool:
    """Whether a command transfers nothing."""
    return any(config.get(key) for key in REHEARSED)


def register() -> None:
    """Make ``${row:}`` known where ``conf/config.yaml`` is composed."""
    register_resolver("row", row_of)
