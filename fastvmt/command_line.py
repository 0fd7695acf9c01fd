"""The words of the command line: Hydra's options, spelled out and before the overrides. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence

VALUED = {
    *("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn"),
    *("--cfg", "-c", "--package", "-p", "--experimental-rerun"),
}
"""Options of Hydra's that the next word belongs to."""
OPEN = {"--info", "-i"}
"""Options that the next word belongs to if it is one of ``TOPICS``."""
TOPICS = {"all", "config", "defaults", "defaults-tree", "plugins", "searchpath"}
LONG = {
    *(option for option in (*VALUED, *OPEN) if option.startswith("--")),
    *("--help", "--hydra-help", "--version", "--resolve", "--run", "--multirun", "--shell-completion"),
}
"""All of its long options, which may be cut as far as they stay apart."""


def spelled_out(words: Sequence[str]) -> list[str]:
    """Write options that are cut in full.

    >>> spelled_out(["--multi", "--config-d=own", "window.l=3,5"])
    ['--multirun', '--config-dir=own', 'window.l=3,5']
    """
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        meant = {option for option in LONG if option.startswith(name)} if len(name) > 2 and name[:2] == "--" else set()
        found.append(f"{meant.pop()}{equals}{value}" if len(meant) == 1 else word)
    return found


def options_first(words: Sequence[str]) -> list[str]:
    """Order a command line: options, ``--``, overrides. The library that reads it wants the overrides together.

    >>> options_first(["window.l=3", "--config-dir", "own", "seed=1"])
    ['--config-dir', 'own', '--', 'window.l=3', 'seed=1']
    """
    options: list[str] = []
    overrides: list[str] = []
    before = ""
    for word in (word for word in words if word != "--"):
        belongs = before in VALUED or (before in OPEN and word in TOPICS)
        (options if belongs or word.startswith("-") else overrides).append(word)
        before = "" if belongs else word
    return [*options, "--", *overrides] if overrides else options
