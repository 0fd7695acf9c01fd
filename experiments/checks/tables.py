"""Can every table be made of any model and clips, and does each of its rows make videos of its own?

``python -m experiments.checks.tables`` makes the tables of ``conf/experiment/table_*.yaml`` by an installed wheel, each
in an empty folder, on a small random model in Wan's layout, with a manifest of two clips; what such a model needs
otherwise stands in presets of its own, which are printed. Of each table it says whether the files are there and can be
read, whether LaTeX would compile, which rows have equal videos, and whether the program had told so. On one of them the
commands for studies run from the wheel too. The record goes to ``outputs/``, with ``--commit`` to
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

from hatchling.builders.wheel import WheelBuilder

os.environ.setdefault("OMP_NUM_THREADS", "1")

from experiments import command_line
from experiments.checks.fork import ROOT, scratch
from experiments.checks.random_study import BLOCKS, NAME, PRESETS, write_clips, write_presets
from experiments.checks.tex import tex_faults
from experiments.random_folder import save_random_wan
from fastvmt.files import write_json
from fastvmt.results.provenance import provenance
from fastvmt.studies.rows import Row, read_rows
from fastvmt.studies.table_command import FORMS

NAMES = sorted(file.stem for file in (ROOT / "conf" / "experiment").glob("table_*.yaml"))
WORDS = ("benchmark=manifest", "seeds=[0]", "logger=none")
"""Beside the model and the clips: one start noise."""
TOLD = re.compile(r"rows with the same videos, which are made once: (.*)")
MAIN = ["-c", "import fastvmt.main; fastvmt.main.main()"]
WHERE = ["-c", "import fastvmt; print(fastvmt.__file__)"]
STUDY = "table_span"
"""On which the commands for studies run."""
COMMANDS = {
    "table": ["out"],
    "status": ["out"],
    "rescore": ["out", "metrics.also=[temporal_flickering]"],
    "retime": ["out", "--repeats", "1", "--cases", "1"],
    "report": ["out"],
    "adopt": ["clips", "--row", "other code", "--study", "out"],
    "merge": ["out", "--into", "merged"],
    "bundle": ["out"],
}
"""In an order in which each finds what it needs."""


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


class Wheel:
    """The package as installed, apart from the checkout. ``here`` holds it, the model, the clips and the tables."""

    def __init__(self, here: Path) -> None:
        self.here = here
        self.site = here / "site"
        wheel = next(WheelBuilder(str(ROOT)).build(directory=str(here), versions=["standard"]))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.site)

    def run(self, words: Sequence[str], place: Path) -> subprocess.CompletedProcess[str]:
        """Run Python in a folder with ``words``. Raises ``ValueError`` if its package would not be the wheel's."""
        environment = os.environ | {"PYTHONPATH": str(self.site)}
        done = subprocess.run([sys.executable, *words], cwd=place, env=environment, capture_output=True, text=True)
        if words == WHERE and not done.stdout.startswith(str(self.site)):
            raise ValueError(f"not the wheel's: {done.stdout}")
        return done

    def bring(self) -> list[str]:
        """Write model, presets, clips and manifest; returns the words of every run."""
        write_presets(self.here / "own", save_random_wan(self.here / "model", BLOCKS))
        write_clips(self.here)
        places = [str(self.here / name) for name in ("clips", "prompts.yaml", "bench.jsonl")]
        done = self.run(["-m", "fastvmt.manifest", *places, "--license", "own"], self.here)
        if done.returncode != 0:
            raise ValueError(f"fastvmt.manifest ended with {done.returncode}: {done.stderr[-300:]}")
        path = f"hydra.searchpath=[file://{self.here / 'own'}]"
        return [f"backbone={NAME}", path, *WORDS, f"benchmark.path={self.here / 'bench.jsonl'}"]

    def table(self, name: str, shared: Sequence[str]) -> dict[str, Any]:
        """Make one table in an empty folder; what was found."""
        place = self.here / name
        place.mkdir()
        places = ("output_dir=out", f"cache_dir={self.here / 'cache'}")
        done = self.run([*MAIN, f"experiment={name}", *shared, *places], place)
        if done.returncode != 0:
            return {"code": done.returncode, "error": done.stderr[-1000:]}
        rows = read_rows([place / "out"])
        diverged = sum(record.diverged is not None for row in rows for record in row.records)
        return {
            "code": 0,
            "rows": [row.folder.name for row in rows],
            "diverged": diverged,
            "files": file_faults(place / "out"),
            "equal": equal_rows(rows, told_equal(done.stdout + done.stderr)),
        }

    def commands(self) -> dict[str, str]:
        """Run the commands for studies on a table that is there; what each that failed said."""
        place = self.here / STUDY
        first = next(place.glob("out/rows/*"))
        (place / "clips").mkdir()
        for case in first.glob("cases/*"):
            shutil.copy(case / "generated.mp4", place / "clips" / f"{case.name}.mp4")
        found = {}
        for name, words in COMMANDS.items():
            done = self.run(["-m", f"fastvmt.{name}", *words], place)
            found[name] = "" if done.returncode == 0 else done.stderr[-500:]
        left = {"merged/table.md": "merge", "out.zip": "bundle", "out/report/index.html": "report"}
        return found | {name: "left no file" for file, name in left.items() if not (place / file).is_file()}


def failures(tables: dict[str, Any], commands: dict[str, str]) -> list[str]:
    """Name what is not as it should be: equal rows that were not told are."""
    found = [f"{name}: exit code {each['code']}" for name, each in tables.items() if each["code"] != 0]
    for name, each in tables.items():
        found += [f"{name}: {fault}" for fault in each.get("files", ())]
        found += [f"{name}: {each['diverged']} diverged"] if each.get("diverged") else []
        pairs = [pair for pair in each.get("equal", ()) if not pair["told"]]
        found += [f"{name}: {' and '.join(p['rows'])} are equal in {p['equal']} of {p['cases']} cases" for p in pairs]
    return [*found, *(f"fastvmt.{name}: {told}" for name, told in commands.items() if told)]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="TABLE", help="default: all")
    command_line.add_results(parser)
    arguments = parser.parse_args(words)
    began = time.process_time() + sum(os.times()[2:4])
    tables = {}
    for name, content in PRESETS.items():
        sys.stdout.write(f"{name}: {json.dumps(content)}\n")
    with scratch() as here:
        wheel = Wheel(here)
        wheel.run(WHERE, here)
        shared = wheel.bring()
        sys.stdout.write(f"each with: {' '.join(shared)}\n")
        for name in dict.fromkeys([*arguments.only, STUDY]):
            tables[name] = wheel.table(name, shared)
            sys.stdout.write(f"{name}: {json.dumps(tables[name])}\n")
            sys.stdout.flush()
        commands = wheel.commands()
    seconds = time.process_time() + sum(os.times()[2:4]) - began
    bad = failures(tables, commands)
    record = {"tables": tables, "commands": commands, "presets": PRESETS, "words": WORDS, "failures": bad}
    write_json(arguments.results / "tables.json", record | {"cpu_seconds": seconds, "provenance": provenance()})
    sys.stdout.write("".join(f"{line}\n" for line in bad) + f"{len(bad)} failures, {seconds:.0f} CPU seconds\n")
    return int(bool(bad))


if __name__ == "__main__":
    command_line.run(main)
