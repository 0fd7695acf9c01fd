"""Words and paths on the command line, taken as they are: outside sweeps Hydra's grammar does not read them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from fastvmt.errors import UserError

KEYS = ("video", "prompt", "negative_prompt", "reference_prompt")
"""Keys whose values are words or paths of the user."""
SWEEP = ("-m", "--multirun", "hydra.mode=MULTIRUN")
QUOTED = re.compile(r"""(?s)'(?:[^'\\]|\\.)+'|"(?:[^"\\]|\\.)+\"""")


def quoted(text: str) -> str:
    """Return ``text`` as a string of Hydra's grammar that means exactly ``text``.

    Backslashes count as themselves except before ``${``, a quote and the end, where each is doubled.
    """
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), stored(text)) + "'"


def stored(text: str) -> str:
    """Return ``text`` as a configuration holds it: with ``${`` escaped, which is no interpolation here."""
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", text)


def search_words(node: Any) -> list[str]:
    """Name the user's own folders of yaml files as a word of the command line; ``node`` is Hydra's of a run."""
    given = [source["path"] for source in node["runtime"]["config_sources"] if source["provider"] == "command-line"]
    folders = [*node["searchpath"], *(f"file://{path}" for path in given)]
    plain = [folder if re.fullmatch(r"[\w:./-]+", folder) else quoted(folder) for folder in folders]
    return [f"hydra.searchpath=[{','.join(plain)}]"] if plain else []


def literal(arguments: Sequence[str]) -> list[str]:
    """Return the command line's arguments with the values of ``KEYS`` quoted for Hydra.

    Left as they are: sweeps, whose commas mean further jobs; ``null``; and values that the user has put into one
    pair of quotes for Hydra already, so that an argument of a sweep means the same without ``-m``. Raises
    :class:`UserError` for a value of a sweep that Hydra's grammar cannot read, with the quoting that it can.
    """
    if any(word in SWEEP for word in arguments):
        for word in arguments:
            check_readable(word)
        return list(arguments)
    return [taken(word) for word in arguments]


def taken(word: str) -> str:
    """Return one argument, its value quoted if it is a literal one's."""
    key, equals, value = word.partition("=")
    if not equals or key not in KEYS or value in ("null", "") or QUOTED.fullmatch(value):
        return word
    return f"{key}={quoted(value)}"


def check_readable(word: str) -> None:
    """Raise :class:`UserError` for an argument of a literal key that Hydra's grammar cannot read."""
    key, equals, value = word.partition("=")
    if not equals or key not in KEYS:
        return
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        told = "cannot be read in a sweep, where commas separate values: as one value write"
        raise UserError(f"{shell_word(word)} {told} {shell_word(f'{key}={quoted(value)}')}") from None


def listed(word: str) -> list[Any] | None:
    """Give the values of a word of the command line whose value is a list; None for any other word.

    >>> listed("seeds=[0,1000]")
    [0, 1000]
    """
    try:
        value = OverridesParser.create().parse_override(word).value()
    except HydraException:
        return None
    return value if isinstance(value, list) else None


def shell_word(text: str) -> str:
    """Quote ``text`` as one word of a shell, on one line: ``$'...'`` of bash and zsh where it needs escapes."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = (c if c.isprintable() else f"\\U{ord(c):08x}" for c in text.replace("\\", "\\\\").replace("'", "\\'"))
    return f"$'{''.join(escaped)}'"
