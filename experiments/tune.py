"""Search of every method's settings for tiny-wan on a tuning split that no reported case shares.

``python -m experiments.tune`` runs the candidates below, equally many for every method, on ``benchmark.seed=100``
and appends one line each to ``experiments/results/tuning.jsonl``; candidates that are there already, with the
same weights and resulting settings, are skipped. ``--methods ditflow moft`` runs these only, and
``python -m experiments.tune window.l=7 skip.delta=1`` one candidate of your own. The table at the end names the
winner of every method: the greatest sum of trajectory cosine and motion fidelity among the candidates whose text
similarity is at most 0.03 below that of ``method=none``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from hydra.errors import HydraException
from rich.console import Console
from rich.table import Table

from experiments.rows import RESULTS, append_line, composed, read_lines, run_row, settings_hash, weights_hash
from fastvmt.engine.plan import UserError
from fastvmt.engine.record import Record, mean_scores
from fastvmt.engine.tables import show

CASES = 8
TEXT_LOSS = 0.03
"""Text similarity that a winner may lose to plain sampling."""
BASE = ["method=none"]


def grid(method: str, **values: Sequence[object]) -> list[list[str]]:
    """Every combination of values; in names a double underscore stands for a dot."""
    keys = [key.replace("__", ".") for key in values]
    chosen = product(*values.values())
    return [[f"method={method}", *(f"{k}={v}" for k, v in zip(keys, each, strict=True))] for each in chosen]


def latents(method: str, group: str, rates: Sequence[float], end: float) -> list[list[str]]:
    """Guided share and learning rate of the latents, which falls to ``end`` times itself."""
    return [
        [f"method={method}", f"{group}.fraction={share}", f"{group}.lr={lr}", f"{group}.lr_end={end * lr:g}"]
        for share, lr in product((0.3, 0.5), rates)
    ]


FEW = (0.02, 0.05, 0.1)
"""Learning rates for three inner iterations: they move latents as far as FastVMT's do in eight."""
CANDIDATES: dict[str, list[list[str]]] = {
    "fastvmt": latents("fastvmt", "guidance", (0.01, 0.02, 0.04), 1.0),
    "ditflow": latents("ditflow", "method", FEW, 0.5),
    "moft": latents("moft", "method", FEW, 0.5),
    "smm": latents("smm", "method", FEW, 0.5),
    "flowmotion": latents("flowmotion", "method", FEW, 1.0),
    "motionclone": grid("motionclone", method__fraction=(0.3, 0.5), method__weight=(200, 2000, 20000)),
    "motion_inversion": grid(
        "motion_inversion", method__tuning__lr=(0.001, 0.005, 0.02), method__tuning__iterations=(150, 300)
    ),
    "motion_director": grid(
        "motion_director", method__tuning__lr=(0.0001, 0.0005, 0.002), method__tuning__iterations=(100, 200)
    ),
    "det": [  # the learning rate follows the first convolution's scale
        *grid("det", method__initial=["normal"], method__tuning__lr=(1e-5, 3e-5, 1e-4)),
        *grid("det", method__initial=["kaiming"], method__tuning__lr=(3e-4, 1e-3, 3e-3)),
    ],
}
"""As many for every method; what they search are numbers that depend on the scale of latents and features."""


def method_of(overrides: Sequence[str]) -> str:
    """The method that overrides choose."""
    return next((text.removeprefix("method=") for text in overrides if text.startswith("method=")), "fastvmt")


def evaluate(overrides: list[str], weights: str, cases: int, folder: Path) -> Record:
    """Mean scores of one candidate on the tuning cases, or the error that ended it."""
    settings = settings_hash(composed(overrides))
    row: Record = {"method": method_of(overrides), "overrides": overrides, "weights": weights, "settings": settings}
    row["cases"] = cases
    try:
        records = run_row(f"{weights}-{settings}", ["benchmark.seed=100", *overrides], folder, cases)
    except UserError as error:
        return row | {"error": str(error)}
    means = mean_scores(records)
    row |= {name: round(score["mean"], 4) for name, score in means.items()}
    seconds = float(np.mean([record["seconds"]["total"] for record in records]))
    return row | {"trajectories": means.get("trajectory_cosine", {"n": 0})["n"], "seconds": round(seconds, 2)}


def is_current(row: Record, weights: str, cases: int) -> bool:
    """Whether a line's overrides would give the same run today."""
    if row["weights"] != weights or row["cases"] != cases or "settings" not in row:
        return False
    try:
        return bool(settings_hash(composed(row["overrides"])) == row["settings"])
    except HydraException:
        return False


def merit(row: Record) -> float:
    """What a winner has most of; NaN where a score is missing."""
    return float(row.get("trajectory_cosine", math.nan) + row.get("motion_fidelity", math.nan))


def winners(rows: Sequence[Record]) -> dict[str, Record]:
    """The best candidate of every method that has an eligible one; none without plain sampling's line."""
    base = next((row["text_similarity"] for row in rows if row["overrides"] == BASE), math.nan)
    best: dict[str, Record] = {}
    for row in rows:
        eligible = row.get("text_similarity", math.nan) >= base - TEXT_LOSS and not math.isnan(merit(row))
        if eligible and (row["method"] not in best or merit(row) > merit(best[row["method"]])):
            best[row["method"]] = row
    return best


def result_table(rows: Sequence[Record]) -> Table:
    """All candidates, winners marked."""
    best = winners(rows)
    table = Table(title=f"sum: trajectory cosine + motion fidelity; * greatest with text within {TEXT_LOSS} of none")
    for column in ("", "candidate", "sum", "trajectory", "fidelity", "text", "trajectories", "s"):
        table.add_column(column, justify="left" if column in ("", "candidate") else "right")
    for row in sorted(rows, key=lambda row: row["method"]):
        values = [merit(row), *(row.get(name) for name in ("trajectory_cosine", "motion_fidelity", "text_similarity"))]
        shown = [*map(show, values), str(row.get("trajectories", 0)), show(row.get("seconds"))]
        table.add_row("*" if best.get(row["method"]) is row else "", " ".join(row["overrides"]) or "default", *shown)
    return table


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--folder", type=Path, default=Path("outputs/tuning"))
    parser.add_argument("--log", type=Path, default=RESULTS / "tuning.jsonl")
    parser.add_argument("overrides", nargs="*", help="one candidate of your own instead of the listed ones")
    arguments = parser.parse_intermixed_args(argv)
    console, weights = Console(), weights_hash(composed(arguments.overrides))

    def current() -> list[Record]:
        return [row for row in read_lines(arguments.log) if is_current(row, weights, arguments.cases)]

    listed: list[Any] = [c for method in arguments.methods for c in CANDIDATES[method]]
    candidates = [arguments.overrides] if arguments.overrides else [BASE, *listed]
    done = [row["overrides"] for row in current()]
    todo = [candidate for candidate in candidates if candidate not in done]
    for number, overrides in enumerate(todo, 1):
        console.print(f"[{number}/{len(todo)}] {' '.join(overrides)}", markup=False)
        append_line(arguments.log, evaluate(overrides, weights, arguments.cases, arguments.folder))
    console.print(result_table(current()))


if __name__ == "__main__":
    main()
