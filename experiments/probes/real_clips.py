"""What the embedded model makes of real clips: ``python -m experiments.probes.real_clips CLIPS``.

Runs plain sampling and FastVMT on every clip of a folder, as ``python run.py video=<clip> fps=8
frame_policy=pad_last`` would. Each clip has a prompt and a start noise of its own, so that plain sampling
makes as many videos as there are clips.
Writes ``real_clips.{json,md}``. Finished runs under ``outputs/real_clips`` are kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from rich.progress import track

from experiments import command_line
from experiments.markdown import table, two_digits
from experiments.rows import composed
from fastvmt.engine.run import run
from fastvmt.files import write_json
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.columns import score_column
from fastvmt.results.folder import RunFolder, slug
from fastvmt.results.provenance import provenance
from fastvmt.results.statistics import compare
from fastvmt.world.vocabulary import BACKGROUNDS, OBJECTS, canonical_caption

METHODS = ("none", "fastvmt")
SCORES = ("motion_fidelity", "motion_fidelity_dynamic", "text_similarity", "coverage", "low_coverage")
OVERRIDES = ("fps=8", "frame_policy=pad_last")


def prompt_of(number: int) -> str:
    """Another object for each of sixteen clips."""
    return canonical_caption([list(OBJECTS)[number % len(OBJECTS)]], list(BACKGROUNDS)[number % len(BACKGROUNDS)])


def transferred(clip: Path, number: int, method: str, overrides: Sequence[str]) -> CaseRecord:
    """The record of one run."""
    folder = Path("outputs/real_clips") / method / slug(clip.stem)
    cfg = composed([f"method={method}", f"seed={number}", "logger=none", *overrides])
    cfg.video = str(clip)
    cfg.prompt = prompt_of(number)
    cfg.output_dir = str(folder)
    run(cfg)
    (record,) = RunFolder(folder).records()
    return record


def report(records: dict[str, list[CaseRecord]]) -> str:
    """One line per clip, each cell plain sampling's score and then FastVMT's; below, the paired differences."""
    columns = {score: [score_column(records[method], score) for method in METHODS] for score in SCORES}
    lines = [
        [
            record.id,
            record.prompt,
            *(" / ".join(two_digits(c[record.id]) for c in pair) for pair in columns.values()),
        ]
        for record in records[METHODS[0]]
    ]
    gaps = [compare(fastvmt, none) for none, fastvmt in columns.values()]
    lines.append(["**difference**", "", *(f"{g.mean:+.2f} ({g.low:+.2f}..{g.high:+.2f}, n {g.n})" for g in gaps)])
    head = f"`python -m experiments.probes.real_clips CLIPS`: every cell is {' / '.join(METHODS)}."
    return "\n".join([head, "", *table(["clip", "prompt", *SCORES], lines)]) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="folder of .mp4 files")
    command_line.add_results(parser)
    parser.add_argument("overrides", nargs="*", help="applied to every run, after " + " ".join(OVERRIDES))
    arguments = parser.parse_intermixed_args(argv)
    clips = sorted(arguments.clips.glob("*.mp4"))
    if not clips:
        raise ValueError(f"{arguments.clips} holds no .mp4 files")
    overrides = [*OVERRIDES, *arguments.overrides]
    records: dict[str, list[CaseRecord]] = {method: [] for method in METHODS}
    for (number, clip), method in track(list(product(enumerate(clips), METHODS)), "runs"):
        records[method].append(transferred(clip, number, method, overrides))
    scores = {method: {record.id: record.scores for record in mine} for method, mine in records.items()}
    content = {"overrides": overrides, "scores": scores, **provenance()}
    write_json(arguments.results / "real_clips.json", content)
    (arguments.results / "real_clips.md").write_text(report(records))


if __name__ == "__main__":
    command_line.run(main)
