"""Do a sweep's seconds hold beside two busy loops, and with readings that an earlier run has kept?

``python -m experiments.checks.busy_sweep`` makes a sweep of Δ = 1 and 3 on tiny-wan: alone and with an empty cache,
again with the readings of references kept, and with an empty cache beside two processes that do nothing but count. It
says by how much the ratio of both rows' loops, in CPU seconds, moves, whether every busy sample is flagged, and by how
much a kept reading moves the loop. The record goes to ``outputs/``, with ``--commit`` to ``experiments/results/``. Let
nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments import command_line
from fastvmt.files import write_json
from fastvmt.results.machines import contended
from fastvmt.results.provenance import provenance
from fastvmt.studies.quantities import loop_work
from fastvmt.studies.rows import Row, read_rows

ROOT = Path(__file__).parents[2]
DELTAS = (1, 3)
BUSY = "while True: pass"


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes take all the CPU they can get."""
    loops = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def sweep(folder: Path, cache: Path, cases: int, words: Sequence[str]) -> list[Row]:
    """Make every video anew; the rows in the order of ``DELTAS``. Raises ``ValueError`` if the sweep fails."""
    fixed = ["benchmark=world", f"benchmark.cases={cases}", "metrics=none", "logger=none", "threads=1", "rerun=all"]
    places = [f"output_dir={folder}", f"cache_dir={cache}"]
    command = [sys.executable, "run.py", "-m", f"skip.delta={','.join(map(str, DELTAS))}", *fixed, *places, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(f"the sweep ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return read_rows([folder])


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """CPU seconds of every row's loops, their ratio, and how many samples are flagged."""
    seconds = [sum(map(loop_work, row.records)) for row in rows]
    records = [record for row in rows for record in row.records]
    return {
        "loop_cpu_seconds": dict(zip((f"delta={delta}" for delta in DELTAS), seconds, strict=True)),
        "ratio": seconds[0] / seconds[1],
        "contended": sum(contended(record) for record in records),
        "samples": len(records),
    }


def measure(folder: Path, cases: int, words: Sequence[str]) -> dict[str, Any]:
    """The three sweeps and what they differ by."""
    cold = summary(sweep(folder / "cold", folder / "cache", cases, words))
    warm = summary(sweep(folder / "warm", folder / "cache", cases, words))
    with busy(2):
        loaded = summary(sweep(folder / "busy", folder / "other_cache", cases, words))
    loops = [sum(each["loop_cpu_seconds"].values()) for each in (cold, warm)]
    return {
        "cold": cold,
        "warm": warm,
        "busy": loaded,
        "ratio_busy_over_idle": loaded["ratio"] / cold["ratio"],
        "warm_over_cold": loops[1] / loops[0],
        "all_busy_samples_flagged": loaded["contended"] == loaded["samples"],
    }


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=command_line.count, default=3)
    command_line.add_results(parser)
    parser.add_argument("overrides", nargs="*", help="of both rows, e.g. sampler.steps=10")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), arguments.cases, arguments.overrides)
    settings = {"cases": arguments.cases, "overrides": arguments.overrides}
    write_json(arguments.results / "busy_sweep.json", found | settings | {"provenance": provenance()})
    for name in ("ratio_busy_over_idle", "warm_over_cold", "all_busy_samples_flagged"):
        sys.stdout.write(f"{name}: {found[name]}\n")


if __name__ == "__main__":
    command_line.run(main)
