"""Words and paths on the command line, taken as they are: outside sweeps Hydra's grammar does not read them."""

from __future__ import annotations

import re
from collections.abc import Sequence

KEYS = ("video", "prompt", "negative_prompt", "reference_prompt")
"""Keys whose values are words or paths of the user."""
SWEEP = ("-m", "--multirun", "hydra.mode=MULTIRUN")
QUOTED = re.compile(r"""(?s)'(?:[^'\\]|\\.)+'|"(?:[^"\\]|\\.)+\"""")


def quoted(text: str) -> str:
    """Return ``text`` as a string of Hydra's grammar that means exactly ``text``.

    Backslashes count as themselves except before ``${``, a quote and the end, where each is doubled.
    """
    plain = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", text)
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), plain) + "'"


def literal(arguments: Sequence[str]) -> list[str]:
    """Return the command line's arguments with the values of ``KEYS`` quoted for Hydra.

    Left as they are: sweeps, whose commas mean further jobs; ``null``; and values that the user has put into one
    pair of quotes for Hydra already, so that an argument of a sweep means the same without ``-m``.
    """
    if any(word in SWEEP for word in arguments):
        return list(arguments)
    return [taken(word) for word in arguments]


def taken(word: str) -> str:
    """Return one argument, its value quoted if it is a literal one's."""
    key, equals, value = word.partition("=")
    if not equals or key not in KEYS or value in ("null", "") or QUOTED.fullmatch(value):
        return word
    return f"{key}={quoted(value)}"
