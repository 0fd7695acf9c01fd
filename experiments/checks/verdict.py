"""The rules: when an end is clear, unclear, wrong, lost or a traceback."""

from __future__ import annotations

import hashlib
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.checks.fork import shown
from experiments.checks.trial import HERE, Expect, Finding, Outcome, Trial, Verdict

LOG = re.compile(r"\[\d{4}-\d\d-\d\d .*\]\[")
WARNING = re.compile(r"\S+:\d+: \w*Warning: ")
"""The log and warnings, with the indented source line that follows those, may stand beside the one line."""
SPEAKS = ("fastvmt",)
"""Beginnings of the one line: the program's own name."""
USAGE = re.compile(r"(?:python -m )?\S+: error: ")
"""argparse's line, which comes after the usage."""
ADVICE = re.compile("Set the environment variable HYDRA_FULL_ERROR")
PLACE = re.compile(r'File "[^"]*?/((?:fastvmt|experiments)/[^"]+\.py)", line (\d+)')
TRACEBACK = "Traceback (most recent call last)"


def told(stderr: str) -> list[str]:
    """The lines on stderr that are neither log nor warnings nor argparse's usage."""
    lines = []
    previous = ""
    for line in filter(str.strip, stderr.splitlines()):
        source = WARNING.match(previous) and line.startswith("  ")
        if not (LOG.match(line) or WARNING.match(line) or source):
            lines.append(line)
        previous = line
    if lines and lines[0].startswith("usage:"):
        start = next((i for i, line in enumerate(lines) if USAGE.match(line)), None)
        return lines if start is None else [f"fastvmt: {USAGE.sub('', lines[start], count=1)}", *lines[start + 1 :]]
    return lines


def unclear(outcome: Outcome, names: Sequence[str]) -> str | None:
    """Why an end with an error is not clear; None if it is.

    Clear is exit code 2 and exactly one line on stderr that begins with the program's name and names one of
    ``names``, in any case of letters.
    """
    lines = told(outcome.stderr)
    if outcome.code in (None, -signal.SIGXCPU):
        return "did not end in time"
    if outcome.code < 0:
        return f"ended by signal {-outcome.code}"
    if outcome.code != 2:
        return f"exit code {outcome.code}"
    if len(lines) != 1:
        return f"{len(lines)} lines instead of one"
    if not lines[0].startswith(SPEAKS):
        return "the line does not begin with the program's name"
    if names and not any(name.lower() in lines[0].lower() for name in names):
        return f"the line names none of {', '.join(names)}"
    return None


def judge(trial: Trial, outcome: Outcome, here: Path, before: Mapping[str, str]) -> tuple[Verdict, str]:
    """The verdict of a trial and its reason; ``before`` are the files of ``trial.kept`` as they were."""
    if trial.kept is not None and (gone := changed(before, here / trial.kept)):
        return Verdict.lost, f"changed or gone: {', '.join(gone[:4])}"
    if outcome.code == 0:
        if trial.expect is Expect.refuse:
            return Verdict.wrong, "accepted"
        problem = trial.check and trial.check(here, outcome)
        return (Verdict.wrong, problem) if problem else (Verdict.clear, "accepted")
    if TRACEBACK in outcome.stderr or TRACEBACK in outcome.stdout:
        return Verdict.traceback, f"exit code {outcome.code}"
    if problem := unclear(outcome, [name.replace(HERE, str(here)) for name in trial.names]):
        return Verdict.unclear, problem
    return (Verdict.wrong, "refused") if trial.expect is Expect.accept else (Verdict.clear, "refused")


def finding(trial: Trial, verdict: Verdict, reason: str, outcome: Outcome) -> Finding:
    """A judged trial as it is kept."""
    return as_kept(trial.id, trial.kind, verdict, reason, shown(trial.command), outcome)


def as_kept(name: str, kind: str, verdict: Verdict, reason: str, command: str, outcome: Outcome) -> Finding:
    """What of an outcome is kept."""
    lines = [line for line in told(outcome.stderr) if not ADVICE.match(line)] or [""]
    places = PLACE.findall(outcome.stderr + outcome.stdout) if verdict is Verdict.traceback else []
    place = ":".join(places[-1]) if places else ""
    seconds = round(outcome.seconds, 2)
    return Finding(
        name, kind, verdict.value, reason, command, outcome.code, lines[0][:600], lines[-1][:600], place, seconds
    )


def files(folder: Path) -> dict[str, str]:
    """SHA-256 by name of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def changed(before: Mapping[str, str], folder: Path) -> list[str]:
    """Names of files that vanished or changed."""
    after = files(folder)
    return [name for name, digest in before.items() if after.get(name) != digest]
