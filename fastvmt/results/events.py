"""What became of a run: lines in ``events.jsonl`` of its folder, each written when it happens."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from fastvmt.errors import UserError
from fastvmt.files import alive

STARTED, FINISHED, FAILED, INTERRUPTED = "started", "finished", "failed", "interrupted"


@dataclass(frozen=True)
class Event:
    """One line."""

    kind: str
    """``started``, ``finished``, ``failed`` or ``interrupted``."""
    time: str
    """ISO 8601, with the offset from UTC."""
    host: str
    pid: int
    error: str = ""
    """Of a failure, in one line."""
    cases: int | None = None
    """Of a start: how many cases the run has."""

    @property
    def running(self) -> bool:
        """Whether the process that started is there, as far as this machine can tell: others' are taken for running."""
        return self.kind == STARTED and (self.host != socket.gethostname() or alive(self.pid))


def note(folder: Path, kind: str, *, error: str = "", cases: int | None = None) -> None:
    """Append an event to the run at ``folder``; where nothing can be written, the run's own files tell of it."""
    now = datetime.now().astimezone().isoformat("T", "seconds")
    event = Event(kind, now, socket.gethostname(), os.getpid(), error, cases)
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "events.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(f"\n{json.dumps(asdict(event))}\n")  # a line of its own, whatever a killed process left


@contextmanager
def noted(folder: Path) -> Iterator[None]:
    """Note how the run at ``folder`` ends, which passes an error on."""
    try:
        yield
    except Exception as error:
        what = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        note(folder, FAILED, error=" ".join(f"{what}{error}".split()))
        raise
    except BaseException:  # a signal's
        note(folder, INTERRUPTED)
        raise
    note(folder, FINISHED)


def asked(events: Sequence[Event]) -> int | None:
    """Tell how many cases a run had when it started last; None where no event tells."""
    starts = [event.cases for event in events if event.kind == STARTED and event.cases is not None]
    return starts[-1] if starts else None


def read_events(folder: Path) -> list[Event]:
    """Read the events of a run; none where it has none. Lines that a killed process left unfinished are passed over.

    Raises ``ValueError``, which names the file, for one that is no text.
    """
    file = folder / "events.jsonl"
    found = []
    try:
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    for line in text.splitlines():
        try:
            found.append(Event(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found
