"""A named row of a table against the words beside it: what the row sets itself, no word may set otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from fastvmt.errors import UserError

GROUP = "row"


def check_row(words: Sequence[str]) -> None:
    """Raise :class:`UserError` for a word that would make another row of a named one, while Hydra is set up.

    The command line wins over every yaml file: with ``method=moft`` the row ``none`` would be MOFT under its name.
    """
    typed = {key_of(each): each for each in OverridesParser.create().parse_overrides(list(words))}
    name = typed[GROUP].value() if GROUP in typed else None
    if not isinstance(name, str):
        return
    for key, own in settings_of(name):
        if key in typed and not typed[key].is_sweep_override() and typed[key].value() != own:
            raise UserError(
                f"{typed[key].input_line}: row={name} has {key}={own}, and would be another row under its name: leave "
                "one of them out (rows beside a table's grid: hydra.sweeper.beside=[])"
            )


def key_of(override: Any) -> str:
    """Give the key of an override, without its package and what stands before it."""
    return str(override.key_or_group)


def settings_of(name: str) -> Iterator[tuple[str, Any]]:
    """Give the options and the numbers that a row's own file sets, by key."""
    for folder in GlobalHydra.instance().config_loader().get_search_path().get_path():
        file = Path(str(folder.path).removeprefix("file://"), GROUP, f"{name}.yaml")
        if file.is_file():
            content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            for entry in content.pop("defaults", []):
                if isinstance(entry, Mapping):
                    yield from ((str(key).removeprefix("override /"), option) for key, option in entry.items())
            yield from leaves(content)
            return


def leaves(node: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Give dotted keys with their values."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
