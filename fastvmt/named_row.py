"""A named row of a table against the words beside it: the method that it names is the one that it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from hydra.core.global_hydra import GlobalHydra

from fastvmt.errors import UserError
from fastvmt.sweep import parsed

GROUP = "row"


def check_row(words: Sequence[str]) -> None:
    """Raise :class:`UserError` for a word that chooses another option than a named row, while Hydra is set up.

    The command line wins over every yaml file: with ``method=moft`` the row ``none`` would be MOFT under its name.
    Numbers that a row sets may be set otherwise, as in a rehearsal with few steps.
    """
    typed = {str(each.key_or_group): each for each in parsed(words)}
    name = typed[GROUP].value() if GROUP in typed else None
    if not isinstance(name, str):
        return
    for group, option in choices_of(name):
        if group in typed and not typed[group].is_sweep_override() and typed[group].value() != option:
            raise UserError(
                f"{typed[group].input_line}: row={name} is {group}={option}, and would be another row under its name: "
                "leave one of them out (rows beside a table's grid: hydra.sweeper.beside=[])"
            )


def choices_of(name: str) -> Iterator[tuple[str, str]]:
    """Give the groups of which a row's own file chooses an option, with that."""
    for folder in GlobalHydra.instance().config_loader().get_search_path().get_path():
        file = Path(str(folder.path).removeprefix("file://"), GROUP, f"{name}.yaml")
        if file.is_file():
            content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            for entry in content.get("defaults", []):
                if isinstance(entry, Mapping):
                    yield from ((str(key).removeprefix("override /"), option) for key, option in entry.items())
            return
