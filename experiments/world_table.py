"""Does the motion transfer? Paired comparison on held-out cases of the moving-emoji world.

``python -m experiments.world_table`` runs every row on the same cases and start noises (resumable:
finished cases are kept) and writes ``experiments/results/world_table.{json,md}``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir

from fastvmt.config import config_folder
from fastvmt.engine.record import Record, finite, score_column, seconds_column, slug
from fastvmt.engine.run import run
from fastvmt.engine.tables import show
from fastvmt.statistics import compare, summarise

ROWS: dict[str, list[str]] = {
    "none": ["method=none"],
    "fastvmt": ["method=fastvmt"],
    "sdedit, strength 0.75": ["method=sdedit", "sampler.strength=0.75"],
    "fastvmt, strength 0.75": ["method=fastvmt", "sampler.strength=0.75"],
}
SCORES = ("trajectory_cosine", "motion_fidelity", "motion_fidelity_dynamic", "text_similarity", "temporal_consistency")
BASE = "none"


def run_row(name: str, overrides: list[str], folder: Path, cases: int, benchmark: str = "world") -> list[Record]:
    """Records of one row, one per case of a benchmark."""
    out = folder / slug(name)
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        cfg = compose(
            "config",
            overrides=[
                f"benchmark={benchmark}",
                f"benchmark.cases={cases}",
                "logger=none",
                f"output_dir={out}",
                *overrides,
            ],
        )
    run(cfg)
    return json.loads((out / "result.json").read_text())["cases"]


def difference(records: list[Record], base: list[Record], score: str) -> tuple[float, float, float, int]:
    """Mean of paired differences to ``base``, its 95 % interval over references, and the number of cases."""
    result = compare(score_column(records, score), score_column(base, score))
    return result.mean, result.low, result.high, result.n


def by_category(records: list[Record], score: str) -> dict[str, float]:
    """Mean of a score within every category."""
    categories = sorted({r["category"] for r in records})
    return {c: summarise(score_column([r for r in records if r["category"] == c], score)).mean for c in categories}


def summary(rows: dict[str, list[Record]]) -> dict[str, dict[str, object]]:
    """Means, per-category trajectory cosines, differences to ``none`` and costs of every row."""
    content: dict[str, dict[str, object]] = {}
    for name, records in rows.items():
        columns = {s: summarise(score_column(records, s)) for s in SCORES}
        content[name] = {
            "mean": {s: column.mean for s, column in columns.items()},
            "n": {s: column.n for s, column in columns.items()},
            "trajectory_by_category": by_category(records, "trajectory_cosine"),
            "minus_none": {s: difference(records, rows[BASE], s) for s in SCORES},
            "seconds": summarise(seconds_column(records, "total")).mean,
            "gradients": float(np.mean([r["passes"]["gradients"] for r in records])),
        }
    return content


def markdown(content: dict[str, dict[str, object]], cases: int) -> str:
    """The table that the README shows."""
    head = ["method", *SCORES, "seconds", "gradients"]
    lines = [f"{cases} cases, same start noise; in brackets the paired difference to `none` and its 95 % interval.", ""]
    lines += ["| " + " | ".join(h.replace("_", " ") for h in head) + " |", "|" + "---|" * len(head)]
    for name, row in content.items():
        cells = []
        for s in SCORES:
            mean, low, high, _ = row["minus_none"][s]  # type: ignore[index]
            span = f"{low:+.2f}..{high:+.2f}" if low == low else "n/a"
            gap = "" if name == BASE else f" ({mean:+.2f}: {span})"
            cells.append(f"{show(row['mean'][s])}{gap}")  # type: ignore[index]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {row['seconds']:.1f} | {row['gradients']:.0f} |")
    categories = list(content[BASE]["trajectory_by_category"])  # type: ignore[call-overload]
    lines += ["", "Trajectory cosine by category:", "", "| method | " + " | ".join(categories) + " |"]
    lines.append("|" + "---|" * (len(categories) + 1))
    for name, row in content.items():
        values = row["trajectory_by_category"]
        lines.append(f"| {name} | " + " | ".join(show(values[c]) for c in categories) + " |")  # type: ignore[index]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--folder", type=Path, default=Path("outputs/world_table"))
    arguments = parser.parse_args()
    rows = {name: run_row(name, o, arguments.folder, arguments.cases) for name, o in ROWS.items()}
    content = summary(rows)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "world_table.json").write_text(json.dumps(finite(content), indent=1))
    (results / "world_table.md").write_text(markdown(content, arguments.cases))


if __name__ == "__main__":
    main()
