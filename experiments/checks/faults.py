"""Run tables of bad inputs through the command lines and count what comes of them.

``python -m experiments.checks.faults`` runs every table, ``--only videos`` one, ``--short`` a few trials of each;
``--kills 200 --minutes 60`` stops as many runs at random moments. The report goes to ``outputs/faults/``, with
``--commit`` to ``experiments/results/`` too. Trials that were finished with the same sources are not run again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a fork must find one thread

from experiments import command_line
from experiments.checks import report
from experiments.checks.fork import ROOT, preload, scratch
from experiments.checks.kills import Kill, run_kill, undisturbed
from experiments.checks.pool import adopt_clear, read, run_all, run_trial, spread, version
from experiments.checks.rows import (
    commands,
    disks,
    diverging,
    folders,
    lists,
    manifests,
    models,
    phrases,
    settings,
    stores,
    videos,
)
from experiments.checks.trial import Finding, Trial

TABLES: dict[str, Callable[[Path], list[Trial]]] = {
    "settings": lambda shared: settings.rows(),
    "commands": lambda shared: commands.rows(),
    "videos": lambda shared: [*videos.rows(), *folders.rows()],
    "words": lambda shared: phrases.rows(),
    "lists": lambda shared: [*lists.rows(), *manifests.rows()],
    "models": lambda shared: models.rows(),
    "stores": lambda shared: stores.rows(shared),
    "numbers": lambda shared: diverging.rows(),
    "disks": lambda shared: disks.rows(shared),
}
SHORT = {
    "settings": 10,
    "commands": 4,
    "videos": 4,
    "words": 4,
    "lists": 5,
    "models": 4,
    "stores": 4,
    "numbers": 2,
    "disks": 2,
    "kills": 1,
}
"""Trials of each kind in the short form."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", action="append", choices=(*TABLES, "kills"), help="one kind; may be repeated")
    p.add_argument("--short", action="store_true", help="a spread sample of every kind")
    p.add_argument(
        "--most", type=command_line.count, metavar="N", help="a spread sample of at most N trials of every kind"
    )
    p.add_argument("--kills", type=command_line.count, metavar="N", help="stop N runs at random moments")
    p.add_argument("--minutes", type=float, default=60, metavar="M", help="start no further kill after M minutes")
    p.add_argument("--jobs", type=command_line.count, default=2, help="trials at a time")
    p.add_argument("--output", type=Path, default=Path("outputs", "faults"), help="folder of the report and the log")
    kept = "trials that were clear with earlier sources, in the log of --output, count and are not run again"
    p.add_argument("--keep-clear", action="store_true", help=kept)
    p.add_argument("--commit", action="store_true", help="write the report to experiments/results too")
    return p


def kills(count: int, minutes: float, log: Path, jobs: int, key: str, shared: Path) -> list[Finding]:
    """As many kills as fit into the time; those of earlier commands count."""
    numbers = [Kill(number, {}) for number in range(count)]
    done = read(log, key)
    if left := [each for each in numbers if each.id not in done]:
        names = {each.shape for each in left}
        shapes = undisturbed(shared / "kills", names, fresh=any(each.fresh for each in left))
        end = time.monotonic() + 60 * minutes
        for first in range(0, len(left), jobs):
            if time.monotonic() > end:
                break
            some = [Kill(each.number, shapes) for each in left[first : first + jobs]]
            run_all(some, log, jobs, key, run_kill)
        done = read(log, key)
    return [done[each.id] for each in numbers if each.id in done]


def run(arguments: argparse.Namespace) -> dict[str, dict[str, int]]:
    """Run the chosen tables and write the report; returns the counts."""
    a = arguments
    log = arguments.output / "trials.jsonl"
    preload()
    key = version()
    findings = []
    skipped = []
    earlier = adopt_clear(log, key) if a.keep_clear else set()
    with scratch() as folder:
        for kind in a.only or TABLES:
            if kind == "kills":
                continue
            trials = TABLES[kind](folder)
            trials = spread(trials, SHORT[kind] if a.short else a.most or len(trials))
            sys.stderr.write(f"{kind}: {len(trials)} trials\n")
            findings += run_all(trials, log, a.jobs, key, run_trial)
        if not disks.may_mount():
            skipped.append("full and read-only disks, which need the right to mount")
        count = a.kills or (SHORT["kills"] if a.short and not a.only else 0)
        if count:
            findings += kills(count, a.minutes, log, a.jobs, key, folder)
    adopted = sum(found.id in earlier for found in findings)
    if adopted:
        skipped.append(f"{adopted} trials again, which were clear with earlier sources")
    about = {"version": key, "short": a.short, "clear_with_earlier_sources": adopted}
    for place in (a.output, *([ROOT / "experiments" / "results"] if a.commit else [])):
        report.write(place, findings, skipped, about)
    return report.counts(findings)


def main(argv: Sequence[str] | None = None) -> None:
    table = run(parser().parse_args(argv))
    for kind, row in table.items():
        sys.stdout.write(f"{kind:10}" + "".join(f"{name} {value:<6}" for name, value in row.items()) + "\n")


if __name__ == "__main__":
    command_line.run(main)
