"""What does a job of a sweep cost whose videos are all there?

``python -m experiments.checks.finished_jobs`` makes a sweep of a small random model in Wan's layout, and makes it again
with nine of its jobs and with all eighteen. What the nine more take is told per job, in CPU and in wall seconds, the
median of the repeats: composing, checking, finding the videos, writing the run's files. Starting Python, which a sweep
does once, is not among it. The record goes to ``outputs/``, with ``--commit`` to ``experiments/results/``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from experiments import command_line
from experiments.checks.fork import preload, scratch, start, wait
from experiments.random_folder import save_random_wan
from fastvmt.files import write_json
from fastvmt.results.provenance import provenance

FEW, MANY = ("1,2,3", "1,2,3,4,5,6")
"""Values of ``sampler.shift``, each with three of ``sampler.cfg_scale``."""
SMALL = ["method=none", "backbone.frames=5", "backbone.height=48", "backbone.width=48", "guidance.block=1"]
QUICK = ["sampler.steps=1", "metrics=none", "logger=none", "threads=1", "sampler.cfg_scale=2,3,4"]
SECONDS = 600
"""CPU seconds that a sweep may take."""


def swept(here: Path, shifts: str) -> dict[str, float]:
    """CPU and wall seconds of the sweep over so many shifts. Raises ``ValueError`` if it fails."""
    model = f"backbone.path={here / 'model'}"
    out = [f"output_dir={here / 'out'}", f"cache_dir={here / 'cache'}"]
    cpu, wall = sum(os.times()[2:4]), time.perf_counter()
    command = ("run", "-m", model, *SMALL, *QUICK, *out, f"sampler.shift={shifts}")
    code = wait(start(command, here, seconds=SECONDS), 10 * SECONDS)
    if code != 0:
        raise ValueError(f"the sweep ended with {code}: {(here / 'stderr').read_text()[-500:]}")
    return {"cpu_seconds": sum(os.times()[2:4]) - cpu, "wall_seconds": time.perf_counter() - wall}


def measure(repeats: int) -> dict[str, Any]:
    """Seconds of a finished job."""
    with scratch() as here:
        save_random_wan(here / "model")
        swept(here, MANY)
        turns = [(swept(here, FEW), swept(here, MANY)) for _ in range(repeats)]
    jobs = 3 * (len(MANY.split(",")) - len(FEW.split(",")))
    found = {key: [(many[key] - few[key]) / jobs for few, many in turns] for key in ("cpu_seconds", "wall_seconds")}
    return {"a_finished_job": {key: statistics.median(values) for key, values in found.items()}, "repeats": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=command_line.count, default=5)
    command_line.add_results(parser)
    arguments = parser.parse_args()
    preload()
    content = measure(arguments.repeats)
    write_json(arguments.results / "finished_jobs.json", content | provenance())
    job = content["a_finished_job"]
    sys.stdout.write(f"a finished job: {job['cpu_seconds']:.2f} CPU s, {job['wall_seconds']:.2f} s\n")


if __name__ == "__main__":
    command_line.run(main)
