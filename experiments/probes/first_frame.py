"""Does guidance damage the first frame? Its text similarity with and without, and all of them side by side.

``python -m experiments.probes.first_frame`` runs plain sampling and FastVMT from pure noise on the tables' cases of one
seed and writes ``first_frame.{json,png}``: in the picture each pair of
rows shows plain sampling above FastVMT.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from PIL import Image
from rich.progress import track

from experiments import command_line
from experiments.rows import composed
from experiments.tools.readme_pictures import Frames
from fastvmt.engine.session import Session, open_session
from fastvmt.files import write_json
from fastvmt.results.provenance import provenance
from fastvmt.results.statistics import compare, summarise
from fastvmt.score.sample import Sample
from fastvmt.types import TransferCase, Video

METHODS = ("none", "fastvmt")
PROMPTS = 2
COLUMNS = 8
SCORE = "text_similarity"


def first_frame(session: Session, case: TransferCase) -> Video:
    """The first frame of a transfer, twice: scores take no single frame."""
    made = session.transfer_case(case).result.video
    return Video(made.frames_THWC[[0, 0]], made.fps)


def sheet(rows: Sequence[Sequence[Frames]]) -> Frames:
    """Every column of ``rows`` (methods x cases) as one block, ``COLUMNS`` blocks beside each other."""
    blocks = [np.concatenate(frames, 0) for frames in zip(*rows, strict=True)]
    blank = np.full_like(blocks[0], 255)
    blocks += [blank] * (-len(blocks) % COLUMNS)
    lines = [np.concatenate(blocks[i : i + COLUMNS], 1) for i in range(0, len(blocks), COLUMNS)]
    gap = np.full((8, *lines[0].shape[1:]), 255, np.uint8)
    return np.concatenate([part for line in lines for part in (line, gap)][:-1], 0)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=command_line.count, default=12, help=f"each with {PROMPTS} prompts")
    parser.add_argument("--seed", type=int, default=0)
    command_line.add_results(parser)
    parser.add_argument("overrides", nargs="*", help="applied to both")
    arguments = parser.parse_intermixed_args(argv)
    cases = ["benchmark=world_pairs", f"benchmark.cases={PROMPTS * arguments.references}", f"seed={arguments.seed}"]
    common = [*cases, f"metrics.names=[{SCORE}]", *arguments.overrides]
    with open_session(composed([f"method={METHODS[0]}", *common])) as session:
        running = {method: session.under(composed([f"method={method}", *common])) for method in METHODS}
        frames = {
            method: [first_frame(under, case) for case in track(under.plan.cases, f"method={method}")]
            for method, under in running.items()
        }
        shown = list(session.plan.cases)
        judge = session.scores.metrics[SCORE]
    scores = {
        method: {c.id: judge.score(Sample(v, None, c.prompt))[SCORE] for c, v in zip(shown, mine, strict=True)}
        for method, mine in frames.items()
    }
    content = {method: asdict(summarise(column)) for method, column in scores.items()}
    gap = asdict(compare(scores["fastvmt"], scores["none"]))
    record = {"score": SCORE, "seed": arguments.seed, "first_frame": content, "fastvmt_minus_none": gap, **provenance()}
    write_json(arguments.results / "first_frame.json", record)
    image = sheet([[video.frames_THWC[0].numpy() for video in frames[method]] for method in METHODS])
    Image.fromarray(image).quantize(256).save(arguments.results / "first_frame.png", optimize=True)


if __name__ == "__main__":
    command_line.run(main)
