"""A finished run's configuration, composed again from the words that made it, and from new ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from fastvmt.benchmarks import Benchmark
from fastvmt.compose import composed
from fastvmt.engine.identity import config_hash
from fastvmt.errors import UserError
from fastvmt.literals import listed
from fastvmt.results.folder import RunFolder
from fastvmt.types import TransferCase

ALSO = "metrics.also"
"""The key of the scores beside those of the group."""


def recomposed(folder: RunFolder, words: Sequence[str] = ()) -> DictConfig:
    """Compose the configuration of a finished run with more ``words``, those of the command line, in its folder.

    Raises :class:`UserError` for words that cannot be composed, and where the run's own no longer make what made its
    videos, and ``ValueError`` without a readable ``result.json``.
    """
    content = folder.content()
    own = [str(word) for word in content.get("overrides") or ()]
    before = composed(own, {"output_dir": str(folder.path)})
    if config_hash(before) != content.get("config_hash"):
        told = "other yaml files or another version of the program; run its sweep again"
        raise UserError(f"{folder.path}: its words no longer make the configuration that made its videos: {told}")
    return composed(joined(own, words), {"output_dir": str(folder.path)}) if words else before


def joined(words: Sequence[str], new: Sequence[str]) -> list[str]:
    """Put new words behind others, in place of those of the same key."""
    keys = {key_of(word) for word in new}
    return [*(word for word in words if key_of(word) not in keys), *new]


def with_kept_also(words: Sequence[str], config: Mapping[str, Any]) -> list[str]:
    """Let the word ``metrics.also`` name the further scores that a configuration has, too: new ones join them.

    A value that is no list stays as it is, for the composition to refuse.
    """
    names = [str(name) for name in (config.get("metrics") or {}).get("also") or ()]
    rest = [word for word in words if key_of(word) != ALSO]
    for word in (word for word in words if key_of(word) == ALSO):
        value = listed(word)
        if value is None:
            return list(words)
        names += map(str, value)
    return list(words) if len(rest) == len(words) else [*rest, f"{ALSO}=[{','.join(dict.fromkeys(names))}]"]


def key_of(word: str) -> str:
    """Give the key of a word of the command line."""
    return word.lstrip("+~").partition("=")[0]


def check_cases(cases: Benchmark, folder: RunFolder) -> None:
    """Raise :class:`UserError` for a finished case that is none of ``cases``, those of its run's words."""
    made = [case.id for case in cases]
    if others := [record.id for record in folder.records() if record.id not in made]:
        told = f"case {others[0]} is none that its words make, as {made[0]} is"
        raise UserError(f"{folder.path}: {told}; of a merged study take the parts, and merge them again")


def cases_of(cases: Benchmark, folder: RunFolder) -> Iterator[TransferCase]:
    """Give the cases that a finished run has: fewer than its words make where time or number were limited."""
    ids = {record.id for record in folder.records()}
    return (case for case in cases if case.id in ids)


def is_foreign(content: Mapping[str, Any]) -> bool:
    """Whether a run's ``result.json`` is of clips that another system made."""
    return bool((content.get("row") or {}).get("name"))


def own_runs(folders: Sequence[Path]) -> list[RunFolder]:
    """List the runs that this program made."""
    runs = [RunFolder(folder) for folder in folders]
    return [run for run in runs if not is_foreign(run.content())]
