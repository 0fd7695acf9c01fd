"""What a run prints: the plan of a dry run, the scores at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from fastvmt.benchmarks import Lost
from fastvmt.engine.plan import Plan
from fastvmt.results.record import Record, cost_summaries, score_summaries
from fastvmt.results.statistics import Summary

HEADLINE = {
    "motion_fidelity": "motion",
    "trajectory_cosine": "trajectory",
    "text_similarity": "text",
    "temporal_consistency": "temporal",
}
"""The scores of the table of cases and their short heads; the table of means has the full names."""
SHOWN = 24
"""Cases in the table; the files have all."""


def plan_table(plan: Plan) -> Table:
    """What would run."""
    layout, sampler = plan.layout, plan.sampler
    table = Table(title="dry run: valid", show_header=False)
    rows = {
        "cases": str(len(plan.cases)),
        "references left out": str(len(plan.cases.lost)),
        "method": plan.method.name,
        "backbone": f"{layout.name}, {layout.depth} blocks",
        "clip": f"{layout.frames} frames, {layout.height} x {layout.width}",
        "tokens": "{} x {} x {}".format(*layout.grid),
        "sampler": f"{sampler.steps} steps, shift {sampler.shift}, CFG {sampler.cfg_scale}",
        "strength": str(sampler.strength),
        "inner iterations per case": str(plan.method.inner_iterations(sampler.steps)),
        "output": plan.cfg.output_dir,
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def score_table(records: list[Record]) -> Table:
    """Headline scores and seconds per case."""
    table = Table(title="scores (higher is better) and seconds")
    table.add_column("case and prompt", overflow="fold")
    for column in (*HEADLINE.values(), "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    for record in records[:SHOWN]:
        values = [show(record["scores"].get(name)) for name in HEADLINE]
        table.add_row(f"{record['id']}\n{record['prompt']}", *values, f"{record['seconds']['total']:.1f}")
    if len(records) > SHOWN:
        table.add_row(f"... {len(records) - SHOWN} more", *[""] * (len(HEADLINE) + 1))
    return table


def mean_table(records: list[Record]) -> Table:
    """Means over cases: the scores, seconds of the guided loop and in total, peak memory, energy."""
    rows = {name.replace("_", " "): row for name, row in score_summaries(records).items()}
    for name, row in cost_summaries(records).items():
        what, unit = name.replace("_", " ").rsplit(" ", 1)
        rows[f"{what}, {unit}"] = row
    return summary_table("means over cases (seeds averaged within)", rows)


def summary_table(title: str, rows: Mapping[str, Summary]) -> Table:
    """One row per quantity with the number n of cases behind its mean."""
    table = Table(title=title)
    for column in ("", "mean", "std", "std over seeds", "n"):
        table.add_column(column, justify="right" if column else "left")
    for name, row in rows.items():
        table.add_row(name, show(row.mean), show(row.std), show(row.seed_std), str(row.n))
    return table


def lost_table(lost: Sequence[Lost]) -> Table:
    """References that were left out, and why."""
    table = Table(title=f"{len(lost)} references left out, {sum(row.cases for row in lost)} cases")
    for column in ("reference", "cases", "reason"):
        table.add_column(column)
    for row in lost:
        table.add_row(row.reference, str(row.cases), row.reason)
    return table


def show(value: float | None) -> str:
    """Three decimals below ten and one above, or n/a."""
    if value is None or value != value:
        return "n/a"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
