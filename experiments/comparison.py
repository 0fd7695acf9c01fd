"""Every method on the same cases, from pure noise and from a common strength, on the embedded model.

``python -m experiments.comparison`` appends one line per method, start, seed and case to
``experiments/results/comparison.jsonl`` and writes the tables and figures of all lines so far (``--report``
does only that). Lines that are there are not run again, wherever the videos went, unless they come from
other weights, settings or cases. Processes may share the work, each with its own choice:
``OMP_NUM_THREADS=1 python -m experiments.comparison --seeds 1 --methods fastvmt ditflow``.
"""

from __future__ import annotations

import argparse
import base64
import math
import shlex
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from omegaconf import DictConfig
from PIL import Image
from rich.console import Console

from experiments.comparison_report import write_report
from experiments.json_lines import Line, append_line, read_lines
from experiments.released_table import NUMBERS
from experiments.rows import DIGITS, RESULTS, composed, settings_hash
from fastvmt.cache import TensorCache
from fastvmt.cost.cost import loop_seconds, peak
from fastvmt.engine.plan import make_plan
from fastvmt.engine.session import Session, open_session
from fastvmt.methods.transfer import transfer_case
from fastvmt.methods.tuned import Tuned
from fastvmt.results.case_record import case_key
from fastvmt.results.provenance import provenance
from fastvmt.results.tables import show
from fastvmt.types import TransferCase, TransferResult

METHODS: dict[str, list[str]] = {
    name: [f"method={name}"]
    for name in (
        "none",
        "sdedit",
        "fastvmt",
        "ditflow",
        "moft",
        "motionclone",
        "smm",
        "flowmotion",
        "motion_inversion",
        "motion_director",
        "det",
    )
}
"""Name -> overrides."""
VARIANTS: dict[str, list[str]] = {
    "fastvmt_official": ["method=fastvmt_official", *NUMBERS],
    "fastvmt_fork": ["method=fastvmt_fork", *NUMBERS],
    "ditflow_embedding": ["method=ditflow", "method.target=embedding"],
    "ditflow_inject": ["method=ditflow", "method.inject=true"],
    "smm_paper": [
        "method=smm",
        "method.ref=rf_inversion",
        "method.init=highfreq",
        "method.restart=true",
        "method.fraction=0.4",
        "method.iterations=10",
        "method.lr=0.007",
        "method.lr_end=0.004",
    ],
    "flowmotion_clean_latent": ["method=flowmotion", "method.representation=clean_latent"],
    "det_tracking": ["method=det", "method.tracking_weight=0.1"],
    "fastvmt_pass": ["method=fastvmt", "experiment=fast", "sampler.negative_every=1"],
    "fastvmt_fast": ["method=fastvmt", "experiment=fast"],
    "fastvmt_linear": ["method=fastvmt", "skip.predict=linear"],
    "none_every2": ["method=none", "sampler.negative_every=2"],
}
"""Further forms of the methods, run if ``--methods`` names them. The released code's have a window loss, on which two
of its switches act: compare them in ``released_table.md``, whose base has one too."""
ROWS = METHODS | VARIANTS
STARTS = (1.0, 0.75)
SEEDS = (0, 1)
REFERENCES = 12
PROMPTS = 2
SEED_STEP = 1000
"""Between the start noises of two seeds: more than there are cases, which take consecutive ones."""
PICTURED = 8
"""The first case whose object travels (a bounce)."""
SHOWN = 5
"""Frames of it that its lines hold."""
SIDE = 72
"""Side of those frames, pixels."""
TOLD = ("trajectory_cosine", "motion_fidelity", "text_similarity")
"""Scores in the progress."""

Key = tuple[str, float, str]
"""Method, start, case id with its seed."""


@dataclass(frozen=True)
class Cell:
    """One transfer of the comparison."""

    method: str
    start: float
    seed: int
    case: TransferCase

    @property
    def id(self) -> str:
        return f"{self.case.id}/s{self.seed}"

    @property
    def key(self) -> Key:
        return self.method, self.start, self.id


@dataclass(frozen=True)
class Current:
    """What a line must come from to be used."""

    weights: str
    score_versions: Mapping[str, int]
    settings: Callable[[str, float], str]
    """Hash of the settings of a method at a start."""
    cases: Mapping[str, str]
    """Hashes of the cases by id."""

    def objection(self, line: Line) -> str | None:
        """What a line differs in, if in anything."""
        if line["method"] not in ROWS:
            return "methods"
        if line["weights"] != self.weights:
            return "weights"
        if line.get("score_versions") != self.score_versions:
            return "definitions of scores"
        if line["settings"] != self.settings(line["method"], line["start"]):
            return "settings"
        return None if self.cases.get(line["id"]) == line["case"] else "cases"


def sift(lines: Sequence[Line], current: Current) -> tuple[dict[Key, Line], Counter[str]]:
    """The usable lines, of repeated ones the last, and how many others there are by what they differ in."""
    kept = {}
    refused = Counter[str]()
    for line in lines:
        objection = current.objection(line)
        if objection is None:
            kept[line["method"], line["start"], line["id"]] = line
        else:
            refused[objection] += 1
    return kept, refused


def starts_of(method: str, starts: Sequence[float]) -> list[float]:
    """Plain sampling has no other start than noise, and SDEdit from noise is plain sampling."""
    if method == "none":
        return [1.0]
    return [start for start in starts if method != "sdedit" or start < 1]


def picture(result: TransferResult) -> str:
    """Some frames of a video beside each other, as JPEG in base64."""
    frames = result.video.frames_THWC.numpy()
    chosen = frames[np.linspace(0, len(frames) - 1, SHOWN).round().astype(int)]
    row = np.concatenate([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in chosen], 1)
    stream = BytesIO()
    Image.fromarray(row).save(stream, "JPEG", quality=92)
    return base64.b64encode(stream.getvalue()).decode()


class Bench:
    """The loaded model and scores, and what runs on them."""

    def __init__(self, references: int, folder: Path, overrides: Sequence[str] = ()) -> None:
        self.references = references
        self.folder = folder
        self.overrides = list(overrides)
        self.session = open_session(self.config("none", 1.0))
        self.weights: str = self.session.backbone.fingerprint[:DIGITS]
        where = provenance()
        hardware = {key: where["hardware"][key] for key in ("device", "threads")}
        self.machine = {"commit": (where["commit"] or "")[:DIGITS], **hardware}
        self.under = cache(self._under)
        self.settings = cache(lambda method, start: settings_hash(self.config(method, start)))
        self.cases = cache(self._cases)

    def config(self, method: str, start: float, seed: int = 0) -> DictConfig:
        return composed(
            [
                "benchmark=world",
                f"benchmark.prompts={PROMPTS}",
                f"benchmark.cases={self.references * PROMPTS}",
                f"seed={SEED_STEP * seed}",
                f"sampler.strength={start}",
                f"cache_dir={self.folder / 'cache'}",
                *ROWS[method],
                *self.overrides,
            ]
        )

    def _under(self, method: str, start: float) -> Session:
        return self.session.under(self.config(method, start))

    def _cases(self, seed: int) -> list[TransferCase]:
        return list(make_plan(self.config("none", 1.0, seed)).cases)

    def current(self, seeds: Iterable[int]) -> Current:
        cells = (Cell("none", 1.0, seed, case) for seed in seeds for case in self.cases(seed))
        return Current(
            self.weights, self.session.scores.versions, self.settings, {cell.id: case_key(cell.case) for cell in cells}
        )

    def plain_seconds(self, case: TransferCase) -> float:
        """Seconds of the denoising loop without a method."""
        return loop_seconds(self.generated("none", 1.0, case).seconds)

    def generated(self, method: str, start: float, case: TransferCase) -> TransferResult:
        """One transfer without scores, its reference read anew."""
        plan = self.under(method, start).plan
        return transfer_case(self.session.backbone, plan.method, plan.sampler, case, TensorCache(None))

    def line(self, cell: Cell, plain: float, shown: bool) -> Line:
        """Run a case. ``plain`` are the seconds of the loop without a method, ``shown`` keeps some frames.

        Tuned parameters are kept on disk for the reference's other cases; all else that a method reads from
        the reference it reads for every case anew, so that times do not depend on what ran before.
        """
        session = self.under(cell.method, cell.start)
        store = TensorCache(self.folder / "tuned" if isinstance(session.plan.method, Tuned) else None)
        line = {
            "method": cell.method,
            "start": cell.start,
            "seed": cell.seed,
            "id": cell.id,
            "category": cell.case.category,
            "prompt": cell.case.prompt,
            "weights": self.weights,
            "settings": self.settings(cell.method, cell.start),
            "score_versions": session.scores.versions,
            "case": case_key(cell.case),
            "overrides": [*ROWS[cell.method], *self.overrides],
            **self.machine,
        }
        try:
            transfer = replace(session, cache=store).transfer_case(cell.case)
        except FloatingPointError as error:  # a result too: it will not come out otherwise next time
            return {**line, "scores": {}, "error": str(error)}
        record = transfer.record
        line |= {"scores": record.scores, "seconds": record.seconds, "passes": asdict(record.passes)}
        line["cpu_seconds"] = record.cost.process_cpu_seconds
        line["plain_seconds"] = loop_seconds(record.seconds) if cell.method == "none" else plain
        line["declared_gradients"] = record.declared_passes.gradients
        line["peak_gib"] = {kind: peak(record.cost.memory_gib, kind) for kind in ("resident", "allocated")}
        return line | ({"frames": picture(transfer.result)} if shown else {})


def blocks(
    methods: Sequence[str], starts: Sequence[float], cases: Mapping[int, Sequence[TransferCase]]
) -> Iterator[list[Cell]]:
    """The cells that share a seed, a start and a reference: all methods on one before the next.

    Their times are compared with one plain run. ``cases`` are those of every seed.
    """
    for seed, mine in cases.items():
        for start in sorted({s for method in methods for s in starts_of(method, starts)}, reverse=True):
            chosen = [method for method in methods if start in starts_of(method, starts)]
            for first in range(0, len(mine), PROMPTS):
                here = mine[first : first + PROMPTS]
                yield [Cell(method, start, seed, case) for method in chosen for case in here]


def missing(cells: Sequence[Cell], done: Container[Key]) -> list[Cell]:
    """The cells that have no line."""
    return [cell for cell in cells if cell.key not in done]


def run_blocks(todo: Sequence[Sequence[Cell]], bench: Bench, log: Path, current: Current, console: Console) -> None:
    """Run what is still missing when its turn comes, telling what came out and how long the rest will take."""
    total = sum(map(len, todo))
    done = 0
    ran = 0
    pictured = bench.cases(0)[PICTURED]
    bench.plain_seconds(pictured)  # warms up
    begin = time.perf_counter()
    for block in todo:
        rest = missing(block, sift(read_lines(log), current)[0])  # another process may have been here
        done += len(block) - len(rest)
        plain: list[float] = []
        for cell in rest:
            if cell.method != "none" and not plain:
                plain.append(bench.plain_seconds(cell.case))
            line = bench.line(cell, float(np.mean(plain)) if plain else math.nan, shown=cell.case is pictured)
            if cell.method == "none" and "error" not in line:
                plain.append(line["plain_seconds"])
            append_line(log, line)
            done += 1
            ran += 1
            left = (time.perf_counter() - begin) / ran * (total - done) / 60
            text = f"[{done}/{total}] {told(line)}; about {left:.0f} min left"
            console.print(text, highlight=False, markup=False, soft_wrap=True)


def told(line: Mapping[str, Any]) -> str:
    """A line in words."""
    what = f"{line['method']} from {line['start']:g}, {line['id']}: "
    if "error" in line:
        return f"{what}{line['error']}"
    scores = ", ".join(f"{name.replace('_', ' ')} {show(line['scores'].get(name))}" for name in TOLD)
    return f"{what}{scores}, {line['seconds']['total']:.1f} s"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=ROWS, default=list(METHODS), help="default: all but variants")
    parser.add_argument("--starts", nargs="+", type=float, default=STARTS, help="sampler.strength")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--references", type=int, default=REFERENCES, help=f"each with {PROMPTS} prompts")
    parser.add_argument("--report", action="store_true", help="run nothing, write the tables and figures")
    parser.add_argument("--folder", type=Path, default=Path("outputs/comparison"), help="of tuned parameters")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("overrides", nargs="*", help="applied to every method")
    arguments = parser.parse_intermixed_args(argv)
    console = Console()
    log = arguments.results / "comparison.jsonl"
    bench = Bench(max(REFERENCES, arguments.references), arguments.folder, arguments.overrides)
    lines = read_lines(log)
    current = bench.current({*arguments.seeds, *(line["seed"] for line in lines)})
    kept, refused = sift(lines, current)
    for what, count in refused.items():
        console.print(f"{count} lines of {log} come from other {what}: not used", soft_wrap=True)
    if not arguments.report:
        cases = {seed: bench.cases(seed)[: arguments.references * PROMPTS] for seed in arguments.seeds}
        chosen = [missing(block, kept) for block in blocks(arguments.methods, arguments.starts, cases)]
        if todo := [block for block in chosen if block]:
            run_blocks(todo, bench, log, current, console)
            kept, _ = sift(read_lines(log), current)
    reference = bench.cases(0)[PICTURED].reference.frames_THWC.numpy()
    command = shlex.join(["python", "-m", "experiments.comparison", *arguments.overrides])
    write_report(arguments.results, list(kept.values()), list(METHODS), list(VARIANTS), reference, command)
    console.print(f"{len(kept)} lines: {arguments.results / 'comparison.md'}", soft_wrap=True)


if __name__ == "__main__":
    main()
