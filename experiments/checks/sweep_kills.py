"""A sweep of nine jobs that is stopped again and again, also as a part of itself, and then finished: the same table?

``python -m experiments.checks.sweep_kills --kills 50`` stops sweeps at random moments, in as many fresh folders as it
takes until so many were at work when it stopped them, and holds the table of each finished sweep against that of an
undisturbed one, byte for byte; what takes seconds is no column. The record goes to ``outputs/``, with ``--commit`` to
``experiments/results/``.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a fork must find one thread

from experiments import command_line
from experiments.checks.fork import preload, run_command, scratch, start, wait
from experiments.checks.kills import SIGNALS, printed
from experiments.checks.rows.small import GUIDED, OUT
from experiments.checks.trial import HERE
from experiments.checks.verdict import TRACEBACK
from fastvmt.files import write_json
from fastvmt.results.provenance import provenance

COLUMNS = "table.columns=[motion_fidelity,text_similarity,temporal_consistency,gradients]"
AROUND = (
    COLUMNS,
    "benchmark=world",
    "benchmark.cases=2",
    "metrics=fast",
    "logger=none",
    f"cache_dir={HERE}/cache",
    OUT,
)
WHOLE = ("guidance.lr=0.01,0.02,0.03", "guidance.fraction=0.5,0.75,1")
AT_WORK = (-signal.SIGKILL, 128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes of a sweep that a signal stopped."""
PARTS = (WHOLE, WHOLE, ("guidance.lr=0.03,0.01", "guidance.fraction=1,0.5"), ("guidance.lr=0.02,0.03", WHOLE[1]))
"""What is begun before a stop: mostly all of it, else fewer values in another order."""


def command(axes: tuple[str, ...]) -> tuple[str, ...]:
    """The sweep, or a part of it."""
    return "run", "-m", *GUIDED, *AROUND, *axes


def table(here: Path) -> bytes:
    """The finished sweep's table as CSV, with differences, intervals and p values in full."""
    return (here / "out" / "table.csv").read_bytes()


def finish(here: Path, words: tuple[str, ...]) -> None:
    """Run a command to its end. Raises ``RuntimeError`` if it fails."""
    done = run_command(words, here, 600)
    if done.code != 0:
        raise RuntimeError(f"exit code {done.code}: {done.stderr[-500:]}")


def stopped(here: Path, dice: random.Random, seconds: float) -> dict[str, Any]:
    """Begin a sweep, stop it within ``seconds``, and, sometimes, go on by the command that it prints."""
    axes = dice.choice(PARTS)
    sent = dice.choice(SIGNALS)
    moment = dice.uniform(0, seconds)
    child = start(command(axes), here, seconds=600)
    time.sleep(moment)
    (os.killpg if sent == signal.SIGINT else os.kill)(child, sent)
    code = wait(child, 120)
    error = (here / "stderr").read_text(encoding="utf-8", errors="replace")
    again = printed(error)
    if again:
        finish(here, ("run", *again))
    return {
        "sweep": " ".join(axes),
        "signal": sent.name,
        "after": round(moment, 2),
        "code": code,
        "traceback": TRACEBACK in error,
        "printed_command_finished": bool(again),
    }


def rounds(kills: int, seed: int) -> dict[str, Any]:
    """Stop sweeps at work ``kills`` times in all and finish each; what was found."""
    dice = random.Random(seed)
    stops: list[dict[str, Any]] = []
    live = equal = folders = 0
    with scratch() as folder:
        whole = folder / "whole"
        whole.mkdir()
        began = time.monotonic()
        finish(whole, command(WHOLE))
        seconds = time.monotonic() - began
        expected = table(whole)
        while live < kills:
            here = folder / f"round_{folders}"
            here.mkdir()
            for _ in range(min(dice.randint(1, 8), kills - live)):
                stops.append(stopped(here, dice, seconds / 2))
                live += stops[-1]["code"] in AT_WORK
            finish(here, command(WHOLE))
            equal += table(here) == expected
            folders += 1
            shutil.rmtree(here)
            print(f"{len(stops)} stops, {live} at work, {equal} of {folders} tables equal", flush=True)  # noqa: T201
    return {
        "kills": len(stops),
        "at_work": live,
        "sweeps": folders,
        "equal_tables": equal,
        "seconds_undisturbed": seconds,
        "stops": stops,
    }


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=command_line.count, default=50)
    parser.add_argument("--seed", type=int, default=0)
    command_line.add_results(parser)
    arguments = parser.parse_args(words)
    preload()
    record = rounds(arguments.kills, arguments.seed) | provenance()
    write_json(arguments.results / "sweep_kills.json", record)
    if record["equal_tables"] != record["sweeps"]:
        raise SystemExit("a table differs from the undisturbed sweep's")
    if wrong := [stop for stop in record["stops"] if stop["traceback"] or stop["code"] not in (0, *AT_WORK)]:
        raise SystemExit(f"a stop ended otherwise than by its signal: {wrong[0]}")


if __name__ == "__main__":
    command_line.run(main)
