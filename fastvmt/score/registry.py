"""What every score is, in one entry above the function that makes it.

A score is one file of this package with ``@score`` in it, or part of the module ``scores`` of another package of
fastvmt (the world's) or of one that the user trusts (``construct.PLUGINS``);
configurations, records, tables and docs/scores.md follow from the entry.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from fastvmt.construct import plugins

if TYPE_CHECKING:
    from fastvmt.score.metric import ScoreMetric
    from fastvmt.score.networks import Networks
    from fastvmt.score.weights import WeightSource

PACKAGE = "fastvmt.score"
"""Whose modules are looked through for entries, but for those of the command line."""
COMMAND = ("__main__", "command")
INPUTS = ("reference", "prompt", "truth", "mask")
DIRECTIONS = ("higher", "lower", "none")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One score, in words and as a constructor."""

    name: str
    """In ``metrics.names``."""
    build: Callable[[Networks], ScoreMetric]
    """Raises ``MissingWeightsError`` for files that are not there."""
    definition: str
    """One sentence."""
    source: str
    """The paper or released code that defines it."""
    range: str
    limits: str
    """When not to trust it."""
    version: int = 1
    """Rises with every change of what the score says about a video."""
    direction: str = "higher"
    """Which values of its first column are better, one of ``DIRECTIONS``."""
    needs: tuple[str, ...] = ()
    """What it reads beside the video, of ``INPUTS``; n/a without the first."""
    weights: tuple[WeightSource, ...] = ()
    """Files that it needs."""
    columns: tuple[str, ...]
    """What it writes, the score itself first."""
    pooled: bool = False
    """Whether VBench's tables average its first column over the frames of all videos."""
    head: str = ""
    """Its short head in the table of cases; empty: not a headline."""

    @property
    def headed(self) -> str:
        """Its short head, with its direction where higher is not better."""
        others = {"lower": " (lower is better)", "none": " (neither is better)"}
        return f"{self.head}{others.get(self.direction, '')}"

    def described(self) -> dict[str, Any]:
        """What records say of it, plain values."""
        keys = ("definition", "source", "range", "limits", "version", "direction")
        return {key: getattr(self, key) for key in keys}


Build = TypeVar("Build", bound="Callable[[Networks], ScoreMetric]")
REGISTRY: dict[str, Entry] = {}
"""By name, filled by the decorators alone; read it through :func:`entries`."""


def score(name: str, *, columns: tuple[str, ...] = (), **facts: Any) -> Callable[[Build], Build]:
    """Register a function from :class:`Networks` to the metric of a score; ``facts`` are the fields of :class:`Entry`.

    ``columns`` defaults to the name alone. Raises ``ValueError`` for a name that another score has, ``TypeError``
    for a field that is missing or unknown.
    """

    def register(build: Build) -> Build:
        if name in REGISTRY:
            raise ValueError(f"two scores are called {name!r}: rename one")
        REGISTRY[name] = Entry(name=name, build=build, columns=columns or (name,), **facts)
        return build

    return register


def modules_of(package: str) -> dict[str, bool]:
    """The modules right below a package by name, and whether they are packages."""
    return {module.name: module.ispkg for module in pkgutil.iter_modules(import_module(package).__path__)}


@cache
def entries() -> dict[str, Entry]:
    """Every score by name: those of the headline first, then by the alphabet."""
    own = [f"{PACKAGE}.{module}" for module in modules_of(PACKAGE) if module not in COMMAND]
    packages = [f"fastvmt.{name}" for name, is_package in modules_of("fastvmt").items() if is_package] + plugins()
    elsewhere = [f"{each}.scores" for each in packages if find_spec(each) and find_spec(f"{each}.scores")]
    for place in own + elsewhere:
        import_module(place)
    return {each.name: each for each in sorted(REGISTRY.values(), key=lambda each: (not each.head, each.name))}


def weight_sources() -> dict[str, WeightSource]:
    """Every weight file that a score needs, by name."""
    return {source.name: source for entry in entries().values() for source in entry.weights}


def table() -> str:
    """All scores as a table in Markdown, as docs/scores.md has it."""
    lines = ["| score | is | range | needs | do not trust it when | from |", "|---|---|---|---|---|---|"]
    for each in entries().values():
        columns = ", ".join(f"`{column}`" for column in each.columns if column != each.name)
        name = f"`{each.name}`" + (f"; writes {columns}" if columns else "")
        better = "" if each.direction == "none" else f", {each.direction} is better"
        pooled = "; VBench's means weigh videos by their frames" if each.pooled else ""
        needs = ", ".join((*each.needs, *(source.name for source in each.weights))) or "-"
        cells = (name, each.definition + pooled, each.range + better, needs, each.limits, each.source)
        lines.append(f"| {' | '.join(cells)} | ")
    return "\n".join(line.rstrip() for line in lines) + "\n"
