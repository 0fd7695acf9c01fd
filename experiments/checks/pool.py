"""Many trials, a few at a time, each in a folder that is removed afterwards; finished ones are not run again."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from experiments.checks.fork import ROOT, forked, run_command, scratch
from experiments.checks.trial import HERE, Finding, Trial, Verdict
from experiments.checks.verdict import files, finding, judge

SOURCES = ("fastvmt", "conf", "experiments/checks", "run.py")


def version() -> str:
    """First digits of a hash of everything that decides how a trial ends."""
    digest = hashlib.sha256()
    for name in SOURCES:
        top = ROOT / name
        for file in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if file.suffix in (".py", ".yaml", ".safetensors"):
                digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def run_trial(trial: Trial) -> Finding:
    """Prepare, run and judge one trial in a temporary folder of its own."""
    with scratch() as here:
        trial.prepare(here)
        before = files(here / trial.kept) if trial.kept is not None else {}
        outcome = run_command(trial.command, here, trial.seconds, trial.confine)
        verdict, reason = judge(trial, outcome, here, before)
        found = finding(trial, verdict, reason, outcome)
        texts = {name: getattr(found, name).replace(str(here), HERE) for name in ("reason", "command", "first", "last")}
        return replace(found, **texts)


class Named(Protocol):
    """What can be run: a trial or a kill."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Named)


def run_all(trials: Sequence[T], log: Path, jobs: int, key: str, run: Callable[[T], Finding]) -> list[Finding]:
    """Run the trials that ``log`` does not hold under ``key``; returns the findings of all, in the order given."""
    done = read(log, key)
    left = [trial for trial in trials if trial.id not in done]
    live: set[int] = set()
    for number, trial in enumerate(left, 1):
        if len(live) >= jobs:
            live.discard(os.wait()[0])
        live.add(_worker(trial, log, key, run))
        if number % 100 == 0:
            sys.stderr.write(f"{number} of {len(left)}\n")
    while live:
        live.discard(os.wait()[0])
    done = read(log, key)
    if missing := [trial.id for trial in trials if trial.id not in done]:
        raise RuntimeError(f"{len(missing)} trials could not be run, such as {missing[0]}: see above")
    return [done[trial.id] for trial in trials]


def _worker(trial: T, log: Path, key: str, run: Callable[[T], Finding]) -> int:
    """Fork a process that runs one trial and appends its line."""

    def work() -> int:
        append(log, run(trial), key)
        return 0

    return forked(work)


def append(log: Path, found: Finding, key: str, **more: str) -> None:
    """Add a line; several processes may at once."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.write(json.dumps(found.row() | {"version": key} | more) + "\n")


def read(log: Path, key: str) -> dict[str, Finding]:
    """Findings by id of one version; a line that a kill cut short is left out."""
    return {row["id"]: finding_of(row) for row in lines(log) if row["version"] == key}


def finding_of(line: Mapping[str, Any]) -> Finding:
    """The finding in a line of the log."""
    return Finding(**{name: value for name, value in line.items() if name not in ("version", "tried_with")})


def adopt_clear(log: Path, key: str) -> set[str]:
    """Let what was clear under another version, at its last trial, count under this one; returns all that ever did.

    For a long table after small mends: what was not clear is then run again, with the present sources.
    """
    last = {row["id"]: row for row in lines(log) if row["version"] != key}
    now = read(log, key)
    clear = [row for name, row in last.items() if row["verdict"] == Verdict.clear.value and name not in now]
    for row in clear:
        append(log, finding_of(row), key, tried_with=row.get("tried_with", row["version"]))
    return {row["id"] for row in lines(log) if row["version"] == key and "tried_with" in row}


def lines(log: Path) -> list[dict[str, Any]]:
    """The lines of a log that are whole."""
    rows = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def spread(trials: Iterable[Trial], count: int) -> list[Trial]:
    """``count`` trials evenly spread over a table."""
    rows = list(trials)
    if len(rows) <= count:
        return rows
    return [rows[i * len(rows) // count] for i in range(count)]
