"""Search of FastVMT's settings for tiny-wan on a tuning split that no reported case shares.

``python -m experiments.tune`` runs the candidates below on ``benchmark.seed=100`` and appends one
line each to ``experiments/results/tuning.jsonl``; candidates that are there already are skipped.
``python -m experiments.tune window.l=7 skip.delta=1`` runs one candidate of your own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from rich.console import Console

from fastvmt.config import config_folder
from fastvmt.engine.record import mean_scores, slug
from fastvmt.engine.run import run

LOG = Path(__file__).parent / "results" / "tuning.jsonl"
CASES = 8
CANDIDATES: list[list[str]] = [
    ["method=none"],
    [],
    ["window=dense"],
    ["guidance.lr=0.03", "guidance.lr_end=0.03"],
    ["guidance.lr=0.01", "guidance.lr_end=0.01", "guidance.fraction=0.5"],
    ["guidance.fraction=0.5"],
    ["window.l=7", "guidance.lr=0.01", "guidance.lr_end=0.01"],
    ["guidance.fraction=0.5", "window.sf=4"],
    ["guidance.fraction=0.5", "window.tau=8"],
]


def evaluate(overrides: list[str]) -> dict[str, object]:
    """Mean scores of one candidate on the tuning cases."""
    out = Path("outputs/tuning") / slug("_".join(overrides) or "default")
    fixed = ["benchmark=world", f"benchmark.cases={CASES}", "benchmark.seed=100", "logger=none", f"output_dir={out}"]
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        run(compose("config", overrides=[*fixed, *overrides]))
    result = json.loads((out / "result.json").read_text())
    means = {name: round(row["mean"], 4) for name, row in mean_scores(result["cases"]).items()}
    seconds = float(np.mean([case["seconds"]["total"] for case in result["cases"]]))
    weights = result["backbone"]["weights_sha256"][:12]
    return {"overrides": overrides, "weights": weights, "cases": CASES, **means, "seconds": round(seconds, 2)}


def main() -> None:
    console = Console()
    candidates = [sys.argv[1:]] if len(sys.argv) > 1 else CANDIDATES
    done = [json.loads(line) for line in LOG.read_text().splitlines()] if LOG.exists() else []
    LOG.parent.mkdir(exist_ok=True)
    for overrides in candidates:
        if any(row["overrides"] == overrides for row in done):
            continue
        row = evaluate(overrides)
        console.print(row)
        with LOG.open("a") as log:
            log.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
