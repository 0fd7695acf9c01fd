"""How far gradients change between the computed ones, and which learning rate each interval of reuse wants.

``python -m experiments.reuse`` runs FastVMT on tiny-wan with every interval and rate on cases of the tuning split, one
per kind of motion, appends a line per transfer to ``experiments/results/reuse.jsonl`` and writes ``reuse.json`` and
``reuse.md`` of all lines so far. It goes on where it was stopped; ``--report`` only writes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from experiments.json_lines import Line, append_line, read_lines
from experiments.markdown import table, two_digits
from experiments.rows import DIGITS, RESULTS, composed, settings_hash
from fastvmt.engine.session import Session, open_session
from fastvmt.files import write_json

DELTAS = (1, 2, 3, 5)
RATES = (0.005, 0.01, 0.015, 0.025)
CASES = 4
PLAIN = "method=none"
SCORES = ("trajectory_cosine", "motion_fidelity", "text_similarity")


def rows() -> dict[str, list[str]]:
    """Name -> overrides: plain sampling, and every interval with every rate, constant within a step."""
    guided = {
        f"delta {delta}, lr {lr:g}": [f"skip.delta={delta}", f"guidance.lr={lr}", f"guidance.lr_end={lr}"]
        for delta in DELTAS
        for lr in RATES
    }
    return {"none": [PLAIN]} | guided


def config(overrides: Sequence[str], cases: int, folder: Path) -> DictConfig:
    split = ["benchmark=world", "benchmark.seed=100", "seed=50000", f"benchmark.cases={cases}", "metrics=fast"]
    return composed([*split, f"cache_dir={folder / 'cache'}", *overrides])


def cosines(trace: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    """Cosines of consecutive computed gradients, ``within`` a denoising step and ``across`` to the next."""
    real = [row for row in trace if not row["reused"]]
    found: dict[str, list[float]] = {"within": [], "across": []}
    for before, row in pairwise(real):
        found["within" if row["step"] == before["step"] else "across"].append(row["cosine"])
    return found


def run(session: Session, cases: int, folder: Path, log: Path, console: Console) -> None:
    """Append the lines that are missing: all rows on a case before the next."""
    weights = session.backbone.fingerprint[:DIGITS]
    sessions = {name: session.under(config(overrides, cases, folder)) for name, overrides in rows().items()}
    for number in range(cases):
        for name, mine in sessions.items():
            case = mine.plan.cases[number]
            settings = settings_hash(mine.plan.cfg)
            if (weights, settings, case.id) in {(r["weights"], r["settings"], r["id"]) for r in read_lines(log)}:
                continue
            transfer = mine.transfer_case(case)
            line: Line = {"row": name, "id": case.id, "weights": weights, "settings": settings}
            line |= {"cpu_seconds": transfer.record.cost.process_cpu_seconds, "cosines": cosines(transfer.trace)}
            append_line(log, line | {"scores": {score: transfer.scores[score] for score in SCORES}})
            console.print(f"{name}, {case.id}: {transfer.scores['motion_fidelity']:.3f}", highlight=False)


def mean(values: Iterable[float | None]) -> float:
    """Of those that are known; NaN without any."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def summary(lines: Sequence[Line]) -> dict[str, Line]:
    """By row: means over its cases, and CPU seconds over those of plain sampling on the same cases."""
    plain = {line["id"]: line["cpu_seconds"] for line in lines if line["row"] == "none"}
    content = {}
    for name in rows():
        mine = [line for line in lines if line["row"] == name]
        if mine:
            beside = mean(plain[line["id"]] for line in mine if line["id"] in plain)
            content[name] = {
                "cases": len(mine),
                **{k: mean(c for line in mine for c in line["cosines"][k]) for k in ("within", "across")},
                **{score: mean(line["scores"][score] for line in mine) for score in SCORES},
                "cpu": mean(line["cpu_seconds"] for line in mine if line["id"] in plain) / beside,
            }
    return content


def markdown(content: Mapping[str, Line]) -> list[str]:
    """The table of all rows."""
    head = ["row", "cosine within", "cosine across", *SCORES, "CPU / none", "cases"]
    keys = ("within", "across", *SCORES, "cpu")
    cells = [[name, *(two_digits(row[key]) for key in keys), str(row["cases"])] for name, row in content.items()]
    return [
        "`python -m experiments.reuse`",
        "",
        "Cosine of consecutive computed gradients, within a denoising step and from one to the next; scores; CPU",
        "seconds of a whole transfer over plain sampling's on the same cases.",
        "",
        *table(head, cells),
    ]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--report", action="store_true", help="run nothing, write reuse.md and reuse.json")
    parser.add_argument("--folder", type=Path, default=Path("outputs/reuse"), help="of readings of references")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(words)
    log = arguments.results / "reuse.jsonl"
    if not arguments.report:
        run(
            open_session(config([PLAIN], arguments.cases, arguments.folder)),
            arguments.cases,
            arguments.folder,
            log,
            Console(),
        )
    content = summary(read_lines(log))
    write_json(arguments.results / "reuse.json", content)
    (arguments.results / "reuse.md").write_text("\n".join(markdown(content)) + "\n")


if __name__ == "__main__":
    main()
