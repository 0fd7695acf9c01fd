"""FastVMT beside the released code: which departure costs how much motion?

``python -m experiments.released_table`` runs every row on the same cases and start noises, on the demo
and on the world benchmark (resumable: finished cases are kept), and writes
``experiments/results/released_table.{json,md}``. Overrides after the options apply to every row:
``python -m experiments.released_table --cases 24 sampler.strength=0.75``.

The base is the formulation with the numbers that were tuned for tiny-wan: where the base transfers no
motion, every departure from it is noise. The formulation and both releases with the paper's numbers are
rows of their own. The released examples start from the noised reference: ``sampler.strength=0.75``.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments.rows import RESULTS, composed, difference, run_row
from fastvmt.files import write_json
from fastvmt.motion.switches import Switches
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.columns import score_column, seconds_column
from fastvmt.results.provenance import provenance
from fastvmt.results.statistics import summarise
from fastvmt.results.tables import show

NUMBERS = ["window.sf=3", "guidance.window_weight=0.1"]
"""Of every row that transfers: the corresponding-window loss, so that its switches act (at the paper's weight of 1 text
similarity fell from 0.20 to 0.17 on eight tuning cases), and a span that leaves it the two targets it needs when the
code looks one frame less far."""
PAPER = [
    "guidance=wan_1_3b",
    "guidance.block=4",
    "guidance.window_weight=1.0",
    "window.tau=1.0",
    "window.centre_gradient=false",
]
"""The paper's guidance; the block, the windows' size and the sampler are tiny-wan's, the span is ``NUMBERS``'."""
BASE = "fastvmt"
BENCHMARKS = {"demo": 1, "world": None}
"""Cases of each benchmark; None takes ``--cases``."""
SCORES = ("motion_fidelity", "motion_fidelity_dynamic", "trajectory_cosine", "text_similarity")

Compared = dict[str, dict[str, Any]]


def official_values() -> dict[str, object]:
    """The switches that ``method=fastvmt_official`` sets off their correct form."""
    switches = OmegaConf.to_container(composed(["method=fastvmt_official"]).method.switches)
    assert isinstance(switches, dict)
    return {name: switches[name] for name, correct in asdict(Switches()).items() if switches[name] != correct}


def rows() -> dict[str, list[str]]:
    """Name -> overrides: no transfer, the base, both releases, all three with the paper's numbers, departures."""
    table = {
        "none": ["method=none"],
        BASE: ["method=fastvmt", *NUMBERS],
        "fork": ["method=fastvmt_fork", *NUMBERS],
        "official": ["method=fastvmt_official", *NUMBERS],
    }
    for name in ("fastvmt", "fork", "official"):
        table[f"paper's numbers, {name}"] = [*table[name], *PAPER]
    for name, value in official_values().items():
        table[f"{BASE}, {name}={value}"] = ["method=fastvmt_released", *NUMBERS, f"method.switches.{name}={value}"]
    return table


def compared(table: dict[str, list[CaseRecord]]) -> Compared:
    """Means, paired differences to the base and seconds of guidance of every row.

    Raises ``ValueError`` when the rows do not hold the same cases and seeds.
    """
    paired = [(r.id, r.seed) for r in table[BASE]]
    content: Compared = {}
    for name, records in table.items():
        if [(r.id, r.seed) for r in records] != paired:
            raise ValueError(f"row {name!r} holds other cases or seeds than {BASE!r}: run both with the same options")
        content[name] = {
            "mean": {score: summarise(score_column(records, score)).mean for score in SCORES},
            "n": {score: summarise(score_column(records, score)).n for score in SCORES},
            "minus_base": {score: list(difference(records, table[BASE], score)) for score in SCORES},
            "guide_seconds": summarise(seconds_column(records, "guide")).mean,
            "cases": len(records),
        }
    return content


def cell(row: dict[str, Any], score: str, name: str) -> str:
    """Mean, and in brackets the difference to the base with its interval where there is one."""
    mean, low, high, pairs = row["minus_base"][score]
    if name == BASE or pairs == 0:
        return show(row["mean"][score])
    span = "n/a" if math.isnan(low) else f"{low:+.3f}..{high:+.3f}"
    return f"{show(row['mean'][score])} ({mean:+.3f}: {span})"


def markdown(summaries: dict[str, Compared], command: str) -> str:
    """One table per benchmark."""
    head = ["row", *(score.replace("_", " ") for score in SCORES), "seconds of guidance"]
    lines = [f"`{command}`", "", f"In brackets: the paired difference to `{BASE}` and its bootstrap 95 % interval."]
    for benchmark, summary in summaries.items():
        lines += ["", f"**{benchmark}**, {summary[BASE]['cases']} case(s), same start noise", ""]
        lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for name, row in summary.items():
            cells = [name, *(cell(row, score, name) for score in SCORES), f"{row['guide_seconds']:.2f}"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=8, help="of the world benchmark")
    parser.add_argument("--folder", type=Path, default=Path("outputs/released_table"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--rows", nargs="+", help=f"only these, beside {BASE!r}")
    parser.add_argument("overrides", nargs="*", help="applied to every row")
    arguments = parser.parse_intermixed_args(words)
    chosen = rows()
    if arguments.rows:
        if unknown := set(arguments.rows) - set(chosen):
            parser.error(f"--rows: {', '.join(sorted(unknown))} unknown; there are {', '.join(chosen)}")
        chosen = {name: overrides for name, overrides in chosen.items() if name in {BASE, *arguments.rows}}
    summaries = {}
    for benchmark, cases in BENCHMARKS.items():
        folder = arguments.folder / benchmark
        summaries[benchmark] = compared(
            {
                name: run_row(name, [*own, *arguments.overrides], folder, cases or arguments.cases, benchmark)
                for name, own in chosen.items()
            }
        )
    command = shlex.join(["python", "-m", "experiments.released_table", *words])
    arguments.results.mkdir(parents=True, exist_ok=True)
    record = {"command": command, "rows": chosen, "benchmarks": summaries, **provenance()}
    write_json(arguments.results / "released_table.json", record)
    (arguments.results / "released_table.md").write_text(markdown(summaries, command))


if __name__ == "__main__":
    main()
