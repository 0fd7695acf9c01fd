"""Runs that are stopped at any moment, and go on: nothing finished is lost, nothing differs from an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from experiments.checks.fork import outcome, run_command, scratch, shown, start, start_fresh, wait
from experiments.checks.rows.small import GUIDED, OUT, pixels
from experiments.checks.trial import HERE, Finding, Outcome, Verdict
from experiments.checks.verdict import TRACEBACK, as_kept, changed, files, told

AROUND = ("metrics=fast", "logger=none", f"cache_dir={HERE}/cache", OUT)
SHAPES = {
    "cases": ("run", *GUIDED, "benchmark=world", "benchmark.cases=2", *AROUND),
    "sweep": ("run", "-m", *GUIDED[1:], "sampler.steps=1,2", *AROUND),
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SECONDS_TO_STOP = 2.0
FRESH = 6
"""Every so-manieth trial starts a new interpreter, so that start-up is stopped too."""
Results = dict[str, dict[str, tuple[object, object]]]


@dataclass(frozen=True)
class Undisturbed:
    """What a shape of run gives, and how long it takes, forked and in a new interpreter."""

    results: Results
    seconds: float
    fresh_seconds: float | None


@dataclass(frozen=True)
class Kill:
    """The number decides shape, signal and moment."""

    number: int
    undisturbed: dict[str, Undisturbed]

    kind = "kills"

    @property
    def id(self) -> str:
        return f"kills/{self.number:04d}"

    @property
    def fresh(self) -> bool:
        """Whether it starts a new interpreter."""
        return self.number % FRESH == FRESH - 1

    @property
    def thrown(self) -> tuple[str, signal.Signals, float]:
        """Its shape, its signal, and its moment as a share of the time that the shape takes."""
        dice = random.Random(self.number)
        return dice.choice(list(SHAPES)), dice.choice(SIGNALS), dice.random()

    @property
    def shape(self) -> str:
        """The name of what it runs."""
        return self.thrown[0]


def results(here: Path) -> Results:
    """Hashes of frames and scores of every run below ``out``."""
    found = sorted((here / "out").rglob("result.json"))
    return {str(file.relative_to(here)): pixels(json.loads(file.read_text())["cases"]) for file in found}


def undisturbed(shared: Path, names: set[str], fresh: bool) -> dict[str, Undisturbed]:
    """Run shapes to their end, with ``fresh`` in a new interpreter too; raises ``RuntimeError`` if one fails."""
    shapes = {}
    for name in sorted(names):
        command = SHAPES[name]
        times = {}
        for new in (False, True) if fresh else (False,):
            here = shared / f"{name}_{new}"
            here.mkdir(parents=True)
            began = time.monotonic()
            code = wait(start_fresh(command, here) if new else start(command, here), 600)
            times[new] = time.monotonic() - began
            if code != 0:
                raise RuntimeError(f"an undisturbed run fails: {(here / 'stderr').read_text()}")
        shapes[name] = Undisturbed(results(here), times[False], times.get(True))
    return shapes


def done_cases(out: Path) -> dict[str, str]:
    """Files of the cases that were finished when the run was stopped."""
    found: dict[str, str] = {}
    for record in sorted(out.rglob("case.json")):
        place = record.parent.relative_to(out)
        found |= {str(place / name): digest for name, digest in files(record.parent).items()}
    return found


def printed(stderr: str) -> list[str] | None:
    """The command that a stopped run says goes on with it, without interpreter and file; None if it says none."""
    match = re.search(r"run\.py (.*output_dir=.*)$", stderr, re.MULTILINE)
    return shlex.split(match[1]) if match else None


def stop_problem(number: int, stopped: Outcome, took: float, here: Path) -> tuple[Verdict, str] | None:
    """What is wrong with how a run stopped."""
    if stopped.code == 0:  # it was through
        return None
    if TRACEBACK in stopped.stderr:
        return Verdict.traceback, "a traceback when stopped"
    if number == signal.SIGKILL:
        return None
    if stopped.code != 128 + number:
        return Verdict.unclear, f"exit code {stopped.code}, not {128 + number}"
    if took > SECONDS_TO_STOP:
        return Verdict.unclear, f"took {took:.1f} s to stop"
    lines = told(stopped.stderr)
    if len(lines) != 1 or not lines[0].startswith("fastvmt"):
        return Verdict.unclear, f"{len(lines)} lines when stopped, not one"
    return None if str(here / "out") in lines[0] else (Verdict.unclear, "the line does not tell how to go on")


def run_kill(kill: Kill) -> Finding:
    """Start, stop at a random moment, go on, and compare."""
    shape, sent, share = kill.thrown
    whole = kill.undisturbed[shape]
    moment = share * ((whole.fresh_seconds if kill.fresh else None) or whole.seconds)
    with scratch() as here:
        began = time.monotonic()
        child = start_fresh(SHAPES[shape], here) if kill.fresh else start(SHAPES[shape], here)
        time.sleep(moment)
        sent_at = time.monotonic()
        (os.killpg if sent == signal.SIGINT else os.kill)(child, sent)
        code = wait(child, 60)
        took = time.monotonic() - sent_at
        stopped = outcome(here, code, began)
        problem = stop_problem(sent, stopped, took, here)
        verdict, reason = (
            after(here, SHAPES[shape], stopped, whole) or problem or (Verdict.clear, "stopped and finished")
        )
    told_as = f"{shown(SHAPES[shape])} [{sent.name} after {moment:.2f} s{', new interpreter' if kill.fresh else ''}]"
    return as_kept(kill.id, "kills", verdict, reason, told_as, stopped)


def after(here: Path, command: tuple[str, ...], stopped: Outcome, whole: Undisturbed) -> tuple[Verdict, str] | None:
    """Go on, with the printed command if there is one, and say what is lost or differs."""
    kept = done_cases(here / "out")
    again = printed(stopped.stderr)
    went_on = run_command(("run", *again) if again else command, here, 300)
    if went_on.code != 0:
        if TRACEBACK in went_on.stderr + went_on.stdout:
            return Verdict.traceback, f"cannot go on: {went_on.stderr.strip().splitlines()[-1][:200]}"
        return Verdict.unclear, f"cannot go on, exit code {went_on.code}: {went_on.stderr[-300:]}"
    if gone := changed(kept, here / "out"):
        return Verdict.lost, f"changed or gone: {', '.join(gone[:4])}"
    if results(here) != whole.results:
        return Verdict.wrong, "results differ from the undisturbed run's"
    left = [path.name for path in (here / "out").rglob("*.partial")] + [
        p.name for p in (here / "cache").rglob("*.partial")
    ]
    return (Verdict.unclear, f"left behind: {', '.join(left[:4])}") if left else None
