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
from numpy.typing import NDArray

from fastvmt.config import config_folder
from fastvmt.engine.record import Record, slug
from fastvmt.engine.run import run

ROWS: dict[str, list[str]] = {
    "none": ["method=none"],
    "fastvmt": ["method=fastvmt"],
    "sdedit, strength 0.75": ["method=sdedit", "sampler.strength=0.75"],
    "fastvmt, strength 0.75": ["method=fastvmt", "sampler.strength=0.75"],
}
SCORES = ("trajectory_cosine", "motion_fidelity", "motion_fidelity_dynamic", "text_similarity", "temporal_consistency")
BASE = "none"
RESAMPLES = 10_000


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


def column(records: list[Record], score: str) -> NDArray[np.float64]:
    """One score per case; NaN where it is missing."""
    return np.array([np.nan if r["scores"].get(score) is None else r["scores"][score] for r in records], float)


def interval(difference: NDArray[np.float64]) -> tuple[float, float, float, int]:
    """Mean of paired differences, its bootstrap 95 % interval over cases, and the number of pairs."""
    valid = difference[np.isfinite(difference)]
    picks = np.random.default_rng(0).integers(0, len(valid), (RESAMPLES, len(valid)))
    low, high = np.percentile(valid[picks].mean(1), [2.5, 97.5])
    return float(valid.mean()), float(low), float(high), len(valid)


def summarise(rows: dict[str, list[Record]]) -> dict[str, dict[str, object]]:
    """Means, per-category trajectory cosines, differences to ``none`` and costs of every row."""
    summary: dict[str, dict[str, object]] = {}
    for name, records in rows.items():
        categories = sorted({r["category"] for r in records})
        trajectory = column(records, "trajectory_cosine")
        summary[name] = {
            "mean": {s: float(np.nanmean(column(records, s))) for s in SCORES},
            "n": {s: int(np.isfinite(column(records, s)).sum()) for s in SCORES},
            "trajectory_by_category": {
                c: float(np.nanmean([t for t, r in zip(trajectory, records, strict=True) if r["category"] == c]))
                for c in categories
            },
            "minus_none": {s: interval(column(records, s) - column(rows[BASE], s)) for s in SCORES},
            "seconds": float(np.mean([r["seconds"]["total"] for r in records])),
            "gradients": float(np.mean([r["passes"]["gradients"] for r in records])),
        }
    return summary


def markdown(summary: dict[str, dict[str, object]], cases: int) -> str:
    """The table that the README shows."""
    head = ["method", *SCORES, "seconds", "gradients"]
    lines = [f"{cases} cases, same start noise; in brackets the paired difference to `none` and its 95 % interval.", ""]
    lines += ["| " + " | ".join(h.replace("_", " ") for h in head) + " |", "|" + "---|" * len(head)]
    for name, row in summary.items():
        cells = []
        for s in SCORES:
            mean, low, high, _ = row["minus_none"][s]  # type: ignore[index]
            gap = "" if name == BASE else f" ({mean:+.2f}: {low:+.2f}..{high:+.2f})"
            cells.append(f"{row['mean'][s]:.3f}{gap}")  # type: ignore[index]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {row['seconds']:.1f} | {row['gradients']:.0f} |")
    categories = list(summary[BASE]["trajectory_by_category"])  # type: ignore[call-overload]
    lines += ["", "Trajectory cosine by category:", "", "| method | " + " | ".join(categories) + " |"]
    lines.append("|" + "---|" * (len(categories) + 1))
    for name, row in summary.items():
        values = row["trajectory_by_category"]
        lines.append(f"| {name} | " + " | ".join(f"{values[c]:.2f}" for c in categories) + " |")  # type: ignore[index]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--folder", type=Path, default=Path("outputs/world_table"))
    arguments = parser.parse_args()
    rows = {name: run_row(name, o, arguments.folder, arguments.cases) for name, o in ROWS.items()}
    summary = summarise(rows)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "world_table.json").write_text(json.dumps(summary, indent=1))
    (results / "world_table.md").write_text(markdown(summary, arguments.cases))


if __name__ == "__main__":
    main()
