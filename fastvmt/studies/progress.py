"""How far the rows of a study are: what is finished, what failed, and what it would take to finish the rest."""

from __future__ import annotations

import os
import re
import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fastvmt.files import read_json, write_json
from fastvmt.literals import listed, quoted, search_words
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.events import FAILED, FINISHED, INTERRUPTED, STARTED, Event, asked, read_events
from fastvmt.results.folder import RunFolder
from fastvmt.results.schema import decoded
from fastvmt.sweep import ALONE, REHEARSED, bare, job_values, words_in

RUNNING, WAITING = "running", "waiting"
WHERE = ("output_dir", "hydra.run.dir", "hydra.sweep.dir")
SWEEP = "sweep.json"
"""In a study's folder: the names of its latest sweep's rows."""


@dataclass(frozen=True)
class Progress:
    """A row's."""

    name: str
    done: int
    """Finished cases."""
    expected: int | None
    """All cases, of a row that has not told those of the others where these agree; else None."""
    state: str
    """``finished``, ``running``, ``interrupted``, ``failed`` or ``waiting``."""
    error: str
    """Of a failed row, in one line."""
    again: str
    """Of a failed row, the shell command that runs it, and nothing else, again; empty where its words are not known."""
    seconds: Sequence[float]
    """Of every finished case, scores and files included."""
    left: float | None = None
    """Seconds that the row still needs; None where no case tells."""


def progress_of(study: Path) -> list[Progress]:
    """Tell the progress of every row of a study, or of a single run. Raises ``ValueError`` where there is none."""
    found = {name_of(folder): read_progress(folder, study) for folder in begun(study)}
    names = planned(study)
    known = {row.expected for row in found.values() if row.expected is not None}
    expected = known.pop() if len(known) == 1 else None
    for name in names:
        found.setdefault(name, Progress(name, 0, expected, WAITING, "", "", ()))
    found = {name: replace(row, expected=row.expected or expected) for name, row in found.items()}
    if not found:
        raise ValueError(f"{study} holds no run: neither config.yaml nor rows/ is there")
    order = {name: i for i, name in enumerate(names)}
    rows = sorted(found.values(), key=lambda row: (order.get(row.name, len(order)), row.name))
    every = [seconds for row in rows for seconds in row.seconds]
    return [replace(row, left=seconds_left(row, every)) for row in rows]


def begun(study: Path) -> list[Path]:
    """List the folders of rows that have begun; ``plan=true`` and ``dry=true`` begin none, but leave Hydra's log."""

    def has_begun(folder: Path) -> bool:
        return bool(read_events(folder)) or any((folder / name).is_file() for name in ("config.yaml", "result.json"))

    rows = [folder for folder in sorted(study.glob("rows/*")) if has_begun(folder)]
    return [study, *rows] if has_begun(study) else rows


def planned(study: Path) -> list[str]:
    """Name the rows of the latest sweep into a study that transferred, in their order; none of a search or single run.

    Raises ``ValueError``, which names the file, where it is damaged.
    """
    file = study / SWEEP
    if not file.is_file():
        return []
    with reading(file):
        names: list[str] = decoded(list[str], read_json(file)["rows"], "rows")
        return names


def note_rows(study: Path, names: Sequence[str]) -> None:
    """Keep the names of a sweep's rows beside them; where nothing can be written, the first job tells.

    One row again, as a command that is told repeats it, is no new sweep.
    """
    if len(names) == 1 and (study / SWEEP).exists():
        return
    with suppress(OSError):
        study.mkdir(parents=True, exist_ok=True)
        write_json(study / SWEEP, {"rows": list(names)})


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Raise ``ValueError``, which names the file, for what is not as it was written."""
    try:
        yield
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"{file} is damaged: {' '.join(str(error).split())}") from error


def read_progress(folder: Path, study: Path) -> Progress:
    """Tell the progress of one row."""
    records = [record for case in RunFolder(folder).cases() if (record := case.read()) is not None]
    events = read_events(folder)
    result = folder / "result.json"
    expected = asked(events)
    if expected is None and result.is_file():
        expected = len(RunFolder(folder).content()["cases"])
    last = deciding(events, through=result.is_file())
    state = state_of(last, result.is_file())
    done = len(records) if expected is None else min(len(records), expected)
    error, command = (last.error, again(folder, study)) if last is not None and state == FAILED else ("", "")
    return Progress(name_of(folder), done, expected, state, error, command, [spent(r) for r in records])


def name_of(folder: Path) -> str:
    """Name a row after its folder, also where that is given as ``.``."""
    return Path(os.path.abspath(folder)).name


def deciding(events: Sequence[Event], *, through: bool) -> Event | None:
    """Give the event that a run's state follows: the last of those of processes that began, or else just the last.

    A command that is refused begins nothing, and a run that is ``through`` stays so.
    """
    begun: set[tuple[str, int]] = set()
    found = []
    for event in events:
        if event.kind == STARTED:
            begun.add((event.host, event.pid))
        if event.kind == FINISHED or (event.host, event.pid) in begun:
            found.append(event)
    if found and (found[-1].kind == FINISHED or found[-1].running):
        return found[-1]
    return None if through and not found else events[-1] if events else None


def state_of(last: Event | None, through: bool) -> str:
    """Name the state of a run after its last event; without any, by whether its result is there."""
    if last is None:
        return FINISHED if through else INTERRUPTED
    if last.kind != STARTED:
        return last.kind
    return RUNNING if last.running else INTERRUPTED


def spent(record: CaseRecord) -> float:
    """Sum the seconds that a case took, with its scores and files."""
    return sum(record.cost.seconds.get(part, 0.0) for part in ("total", "metrics", "save"))


def seconds_left(row: Progress, every: Sequence[float]) -> float | None:
    """Tell what the cases that a row lacks would take, as its own do in the mean, or else all of the study's."""
    if row.state == FINISHED:
        return 0.0
    seconds = row.seconds or every
    return None if row.expected is None or not seconds else (row.expected - row.done) * statistics.fmean(seconds)


def again(folder: Path, study: Path) -> str:
    """Write the shell command that runs a row again; in a sweep it keeps the row's place in the table."""
    file = folder / ".hydra" / "overrides.yaml"
    with reading(file):
        words = [str(word) for word in OmegaConf.load(file)] if file.is_file() else []
    if not words:
        return ""
    hydra = folder / ".hydra" / "hydra.yaml"
    own: list[str] = []
    if hydra.is_file():
        with reading(hydra):
            node = OmegaConf.load(hydra).hydra
            own = search_words(node)
            words = alone(words, node.get("sweeper") or {})
    words = [*own, *(word for word in words if bare(word) not in (*WHERE, *REHEARSED))]
    place = f"{study}" if re.fullmatch(r"[\w./-]+", f"{study}") else quoted(f"{study}")
    return shlex.join(["python", "run.py", *([] if folder == study else ["-m"]), *words, f"output_dir={place}"])


def alone(words: Sequence[str], sweeper: Mapping[str, Any]) -> list[str]:
    """Write a job's words so that they make no other job, where an experiment names several."""
    if not any(words_in(sweeper, name) for name in ("params", "beside")):
        return list(words)
    swept = next((found for word in words if word.startswith("swept=") and (found := listed(word))), [])
    keys = ",".join(job_values(swept, sweeper, words))
    return [*ALONE, *(word for word in words if not word.startswith("swept=")), f"swept=[{keys}]"]


def failures(rows: Sequence[Progress]) -> list[str]:
    """Tell of every failed row why, and how to repeat it: two lines each."""
    return [f"{row.name}: {row.error}\n  again: {row.again or 'unknown'}" for row in rows if row.state == FAILED]


def duration(seconds: float | None) -> str:
    """Write seconds for people.

    >>> [duration(each) for each in (None, 0.0, 42.4, 90.0, 7300.0)]
    ['?', '', '42 s', '2 min', '2.0 h']
    """
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds else ""
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def total_left(rows: Sequence[Progress]) -> float | None:
    """Sum the time left; None where a row's is unknown."""
    left = [row.left for row in rows]
    return None if None in left else sum(each for each in left if each is not None)


def counts(rows: Sequence[Progress]) -> Mapping[str, int]:
    """Count the rows by state, those that are through first."""
    order = (FINISHED, RUNNING, INTERRUPTED, FAILED, WAITING)
    return {state: n for state in order if (n := sum(row.state == state for row in rows))}
