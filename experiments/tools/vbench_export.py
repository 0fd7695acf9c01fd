"""Score finished runs with the official VBench tool, in an environment of its own, and bring its numbers back.

1. ``python -m experiments.tools.vbench_export write FOLDER RUN [RUN ...]`` copies the generated videos of run
   folders, or of all rows of a sweep's folder, to ``FOLDER/videos/00000.mp4, ...`` and lists them in
   ``FOLDER/manifest.json``.
   Nothing is encoded again. Of a run with ``lossless=true`` those are the exact pixels in their own size, of
   any other run ``generated.mp4``: lossy (CRF 16, 4:2:0), and enlarged if it is lower than 384 pixels.
2. In the other environment: ``vbench evaluate --mode custom_input --videos_path FOLDER/videos --dimension ...``
   with any of the dimensions below.
3. ``python -m experiments.tools.vbench_export read FOLDER RESULTS.json`` writes ``FOLDER/scores.csv``: one row per
   video with our columns and, beside them, ``vbench_official/<dimension>``.

Ours are scored in memory. Official scores of lossless files differ by the tools alone (half precision on GPUs);
those of lossy files differ a little more, and for enlarged ones compare ranks rather than digits. The manifest
and ``scores.csv`` say what was ``copied``.
"""

from __future__ import annotations

import argparse
import csv
import math
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments import command_line
from fastvmt.files import read_json, write_json
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.folder import RunFolder
from fastvmt.studies.rows import runs_of
from fastvmt.terminal import literal_text

DIMENSIONS = (
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "aesthetic_quality",
    "dynamic_degree",
    "imaging_quality",
    "temporal_flickering",
)
"""Those that need no more than a video, and can be had for any prompt."""
PERCENT = "imaging_quality"
"""Given in percent per video by the official tool, as a fraction in its mean."""


def run_cases(run: Path) -> list[CaseRecord]:
    """Records of a run folder's finished cases, by id. Raises ``FileNotFoundError`` if there is none."""
    records = RunFolder(run).finished()
    if not records:
        raise FileNotFoundError(f"{run} has no finished case (cases/*/case.json): give the output_dir of a run")
    return sorted(records, key=lambda record: record.id)


def write(folder: Path, runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Copy the videos of every run, lossless where there are such, and list them; returns the list.

    A sweep's folder stands for its finished rows.

    Raises ``FileExistsError`` if the folder holds videos already (numbers of two exports would mix), and
    ``ValueError`` if only some videos are lossless: their scores could not be compared.
    """
    videos = folder / "videos"
    if videos.exists() and any(videos.iterdir()):
        raise FileExistsError(f"{videos} is not empty: give a new folder")
    videos.mkdir(parents=True, exist_ok=True)
    rows_of = [row for run in runs for row in runs_of(run) or [run]]
    cases = [(run, record, RunFolder(run).case(record.id)) for run in rows_of for record in run_cases(run)]
    lossy = [case.path.name for _, _, case in cases if not case.lossless.exists()]
    if 0 < len(lossy) < len(cases):
        raise ValueError(
            f"{lossy[0]} and {len(lossy) - 1} more have no {cases[0][2].lossless.name}: run them with lossless=true"
        )
    rows: list[dict[str, Any]] = []
    for run, record, case in cases:
        name = f"{len(rows):05d}.mp4"
        copied = case.generated if lossy else case.lossless
        shutil.copyfile(copied, videos / name)
        known = {"case": record.id, "prompt": record.prompt, "scores": record.scores}
        rows.append({"video": name, "run": run.name, "copied": copied.name, **known})
    write_json(folder / "manifest.json", {"videos": rows})
    return rows


def official(results: dict[str, Any], known: set[str]) -> dict[str, dict[str, float]]:
    """Columns ``vbench_official/<dimension>`` to values by file name, from the official tool's JSON.

    It holds, per dimension, the mean and a list of ``{video_path, video_results}``. Raises ``ValueError``
    for videos that were not exported.
    """
    columns: dict[str, dict[str, float]] = {}
    for dimension, (_, videos) in results.items():
        column = {}
        for entry in videos:
            name = Path(entry["video_path"]).name
            if name not in known:
                raise ValueError(f"the results score {name!r}, which is not in the manifest: is this the right folder?")
            column[name] = float(entry["video_results"]) / (100 if dimension == PERCENT else 1)
        columns[f"vbench_official/{dimension}"] = column
    return columns


def read(folder: Path, results: Path) -> list[dict[str, Any]]:
    """Join the official results to the manifest, write ``scores.csv`` and return its rows."""
    listed = read_json(folder / "manifest.json")["videos"]
    columns = official(read_json(results), {row["video"] for row in listed})
    ours = list(dict.fromkeys(name for row in listed for name in row["scores"]))
    rows = []
    for row in listed:
        own = {name: number(row["scores"].get(name)) for name in ours}
        theirs = {column: values.get(row["video"], math.nan) for column, values in columns.items()}
        rows.append({key: row[key] for key in ("video", "run", "case", "prompt", "copied")} | own | theirs)
    with (folder / "scores.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows


def number(value: float | None) -> float:
    """A score of a record, NaN where the record has null."""
    return math.nan if value is None else float(value)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("write", help="copy the videos of run folders under the names that VBench reads")
    export.add_argument("folder", type=Path)
    export.add_argument("runs", type=Path, nargs="+")
    back = commands.add_parser("read", help="join VBench's results to our scores")
    back.add_argument("folder", type=Path)
    back.add_argument("results", type=Path)
    args = parser.parse_args(arguments)
    console = Console()
    if args.command == "write":
        rows = write(args.folder, args.runs)
        console.print(literal_text(f"{len(rows)} copies of {rows[0]['copied']} in {args.folder / 'videos'}"))
        if "lossless" not in rows[0]["copied"]:
            console.print("these are lossy; run with lossless=true to export exact pixels")
        console.print("next, in VBench's own environment:")
        command = f"vbench evaluate --mode custom_input --videos_path {shlex.quote(str(args.folder / 'videos'))}"
        console.print(literal_text(f"{command} --dimension {' '.join(DIMENSIONS)}"), soft_wrap=True)
    else:
        console.print(literal_text(f"{len(read(args.folder, args.results))} rows in {args.folder / 'scores.csv'}"))


if __name__ == "__main__":
    command_line.run(main)
