"""One bad (or odd but good) input: what is run, what must come of it, and what came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

HERE = "@here@"
"""Stands for the trial's own folder in arguments."""
PROGRAMS = ("run", "score", "manifest")
"""``run.py``, ``python -m fastvmt.score`` and ``python -m fastvmt.manifest``."""


class Expect(str, Enum):
    """What a row asks for."""

    refuse = "refuse"
    """Exit code 2 and one line that names the key or the file."""
    accept = "accept"
    """Exit code 0, and the row's check finds nothing wrong."""
    either = "either"
    """One of the two: the input may be read or refused, but not misread."""


class Verdict(str, Enum):
    """What came of a trial, the worst first."""

    lost = "lost"
    """Files of a finished case vanished or changed."""
    wrong = "wrong"
    """Exit code 0 where a refusal is due, a result that its check finds wrong, or a good input refused."""
    traceback = "traceback"
    unclear = "unclear"
    """Any other end: another exit code, several lines, a line that names nothing, no end in time."""
    clear = "clear"
    """As the row asks."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int | None
    """Exit code, negative for a signal; None if it was stopped because its time was up."""
    stdout: str
    stderr: str
    seconds: float


def nothing(_here: Path) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Trial:
    """A row of the tables; functions are given the trial's folder."""

    kind: str
    name: str
    """Unique within its kind."""
    command: tuple[str, ...]
    """One of ``PROGRAMS`` and its arguments."""
    expect: Expect
    names: tuple[str, ...] = ()
    """The line of a refusal names one of these."""
    prepare: Callable[[Path], object] = nothing
    """Writes the input, before the command; what it returns is not used."""
    check: Callable[[Path, Outcome], str | None] | None = None
    """Says what is wrong with what an accepted command made, or None."""
    kept: str | None = None
    """A folder whose files the command must neither change nor remove."""
    confine: Callable[[Path], None] | None = None
    """Called in the command's process first, for limits and mounts."""
    seconds: int = 60
    """CPU seconds after which the command counts as hanging."""

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class Finding:
    """A judged trial, as it is kept."""

    id: str
    kind: str
    verdict: str
    reason: str
    command: str
    code: int | None
    first: str
    """First line on stderr that is no log or warning."""
    last: str
    place: str
    """File and line of the package where a traceback ends; empty without one."""
    seconds: float

    def row(self) -> dict[str, Any]:
        return asdict(self)
