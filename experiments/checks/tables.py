"""Can every table be made of any model and clips, and does each of its rows make videos of its own?

``python -m experiments.checks.tables`` makes the tables of ``conf/experiment/table_*.yaml`` on a small random model in
Wan's layout, with a manifest of two clips; what such a model needs otherwise stands in presets of its own, which are
printed. Of each it says whether the table's files are there and can be read, whether LaTeX would compile, which rows
have equal videos, and whether the program had told so. One more is made of an installed wheel in an empty folder, with
``fastvmt.table``, ``.status`` and ``.bundle``. The record goes to ``outputs/``, with ``--commit`` to
``experiments/results/``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a fork must find one thread

from experiments import command_line
from experiments.checks.fork import ROOT, preload, run_command, scratch
from experiments.checks.tex import tex_faults
from fastvmt.files import write_json
from fastvmt.results.provenance import provenance
from fastvmt.studies.rows import Row, read_rows
from fastvmt.studies.table_command import FORMS

NAMES = sorted(file.stem for file in (ROOT / "conf" / "experiment").glob("table_*.yaml"))
WORDS = ("benchmark=manifest", "seeds=[0]", "logger=none")
"""Beside the model and the clips: one start noise."""
TOLD = re.compile(r"rows with the same videos, which are made once: (.*)")
FROM_WHEEL = "table_span"
MAIN = "import fastvmt.main; fastvmt.main.main()"


def equal_rows(rows: Sequence[Row], told: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """List pairs of rows with equal videos: of how many cases, and whether the program had told that they are equal."""
    found = []
    for pair in combinations(rows, 2):
        first, second = ({record.id: record.frames_sha256["generated"] for record in row.records} for row in pair)
        shared = first.keys() & second.keys()
        equal = sum(first[case] == second[case] for case in shared)
        names = [row.folder.name for row in pair]
        if equal:
            known = any(set(names) <= set(group) for group in told)
            found.append({"rows": names, "equal": equal, "cases": len(shared), "told": known})
    return found


def told_equal(output: str) -> list[list[str]]:
    """Read which rows the program had told to be equal."""
    return [group.strip().split("; ") for group in TOLD.findall(output)]


def file_faults(folder: Path) -> list[str]:
    """Name files of a table that are missing or cannot be read."""
    missing = [form for form in FORMS if not (folder / f"table.{form}").is_file()]
    if missing:
        return [f"table.{form} is missing" for form in missing]
    text = {form: (folder / f"table.{form}").read_text(encoding="utf-8") for form in FORMS}
    rows = len(json.loads(text["json"])["rows"])
    lines = list(csv.reader(text["csv"].splitlines()))
    faults = [f"table.tex: {fault}" for fault in tex_faults(text["tex"])]
    if len({len(line) for line in lines}) != 1 or len(lines) != rows + 1:
        faults.append("table.csv: its lines are uneven, or not one for each row")
    if any(line[0] not in text["md"] for line in lines[1:]):
        faults.append("table.md: a row is missing")
    return [*faults, *compiled(folder / "table.tex")]


def compiled(tex: Path) -> list[str]:
    """Compile a table where there is LaTeX; name what it says if it fails."""
    program = next((found for name in ("pdflatex", "tectonic") if (found := shutil.which(name))), None)
    if program is None:
        return []
    whole = tex.with_name("whole.tex")
    body = tex.read_text(encoding="utf-8")
    whole.write_text(
        f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{body}\\end{{document}}\n"
    )
    options = ["-interaction=nonstopmode"] if program.endswith("pdflatex") else []
    done = subprocess.run([program, *options, whole.name], cwd=tex.parent, capture_output=True, text=True)
    return [] if done.returncode == 0 else [f"table.tex: {done.stdout[-300:]}"]


def bring(here: Path) -> None:
    """Write model, presets and manifest, in forks: this process has to stay without threads."""
    places = [str(here / name) for name in ("clips", "prompts.yaml", "bench.jsonl")]
    for command in (("experiments.checks.random_study", str(here)), ("manifest", *places, "--license", "own")):
        if (done := run_command(command, here)).code != 0:
            raise ValueError(f"{command[0]} ended with {done.code}: {done.stderr[-300:]}")


def make(name: str, here: Path, shared: Sequence[str]) -> dict[str, Any]:
    """Make one table in a fork of this process; what was found."""
    place = here / name
    place.mkdir()
    out = place / "out"
    places = (f"output_dir={out}", f"cache_dir={here / 'cache'}")
    done = run_command(("run", f"experiment={name}", *shared, *places), place, seconds=600)
    if done.code != 0:
        return {"code": done.code, "error": done.stderr[-1000:]}
    rows = read_rows([out])
    diverged = sum(record.diverged is not None for row in rows for record in row.records)
    return {
        "code": 0,
        "rows": [row.folder.name for row in rows],
        "diverged": diverged,
        "files": file_faults(out),
        "equal": equal_rows(rows, told_equal(done.stdout + done.stderr)),
    }


def from_wheel(here: Path, shared: Sequence[str]) -> dict[str, Any]:
    """Make a table with an installed wheel in an empty folder, and run what works on it; what was found."""
    from hatchling.builders.wheel import WheelBuilder

    site, empty = here / "site", here / "empty"
    empty.mkdir()
    wheel = next(WheelBuilder(str(ROOT)).build(directory=str(here), versions=["standard"]))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    environment = os.environ | {"PYTHONPATH": str(site)}
    commands = {
        "where": ["-c", "import fastvmt; print(fastvmt.__file__)"],
        "run": ["-c", MAIN, f"experiment={FROM_WHEEL}", *shared, "output_dir=out", "cache_dir=cache"],
        "table": ["-m", "fastvmt.table", "out"],
        "status": ["-m", "fastvmt.status", "out"],
        "bundle": ["-m", "fastvmt.bundle", "out"],
    }
    found: dict[str, Any] = {}
    for name, words in commands.items():
        done = subprocess.run([sys.executable, *words], cwd=empty, env=environment, capture_output=True, text=True)
        found[name] = "" if done.returncode == 0 else done.stderr[-500:]
        if name == "where" and not done.stdout.startswith(str(site)):
            found[name] = f"not the wheel's: {done.stdout}"
    bundled = zipfile.is_zipfile(empty / "out.zip")
    return found | {"files": file_faults(empty / "out"), "zip": "" if bundled else "out.zip is no zip file"}


def failures(tables: dict[str, Any], wheel: dict[str, Any]) -> list[str]:
    """Name what is not as it should be: equal rows that were not told are."""
    found = [f"{name}: exit code {each['code']}" for name, each in tables.items() if each["code"] != 0]
    for name, each in tables.items():
        found += [f"{name}: {fault}" for fault in each.get("files", ())]
        found += [f"{name}: {each['diverged']} diverged"] if each.get("diverged") else []
        pairs = [pair for pair in each.get("equal", ()) if not pair["told"]]
        found += [f"{name}: {' and '.join(p['rows'])} are equal in {p['equal']} of {p['cases']} cases" for p in pairs]
    return [*found, *(f"wheel: {name}: {told}" for name, told in wheel.items() if told)]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="TABLE", help="default: all")
    command_line.add_results(parser)
    arguments = parser.parse_args(words)
    preload()
    from experiments.checks.random_study import NAME, PRESETS

    began, tables = time.process_time() + sum(os.times()[2:4]), {}
    for name, content in PRESETS.items():
        sys.stdout.write(f"{name}: {json.dumps(content)}\n")
    with scratch() as here:
        bring(here)
        shared = [f"backbone={NAME}", f"hydra.searchpath=[file://{here / 'own'}]", *WORDS]
        shared.append(f"benchmark.path={here / 'bench.jsonl'}")
        sys.stdout.write(f"each with: {' '.join(shared)}\n")
        for name in arguments.only:
            tables[name] = make(name, here, shared)
            sys.stdout.write(f"{name}: {json.dumps(tables[name])}\n")
            sys.stdout.flush()
        wheel = from_wheel(here, shared)
    seconds = time.process_time() + sum(os.times()[2:4]) - began
    bad = failures(tables, wheel)
    record = {"tables": tables, "wheel": wheel, "presets": PRESETS, "words": WORDS, "failures": bad}
    write_json(arguments.results / "tables.json", record | {"cpu_seconds": seconds, "provenance": provenance()})
    sys.stdout.write("".join(f"{line}\n" for line in bad) + f"{len(bad)} failures, {seconds:.0f} CPU seconds\n")
    return int(bool(bad))


if __name__ == "__main__":
    command_line.run(main)
