"""What a run prints: the plan of a dry run, the scores at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table

from fastvmt.benchmarks import Lost
from fastvmt.engine.plan import Plan
from fastvmt.engine.record import Record, energy_column, peak_column, score_column, seconds_column
from fastvmt.statistics import summarise

HEADLINE = ("motion_fidelity", "trajectory_cosine", "text_similarity", "temporal_consistency")
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
    """Headline scores, seconds and memory per case, and their means with the number of cases behind each."""
    columns = {name: score_column(records, name) for name in HEADLINE}
    columns |= {f"{stage}\ns": seconds_column(records, stage) for stage in ("loop", "total")}
    memory = memory_kind(records)
    columns[f"{memory}\nGiB"] = peak_column(records, memory)
    joules = energy_column(records)
    if not all(math.isnan(value) for value in joules.values()):
        columns["energy\nJ"] = joules
    table = Table(title="scores (higher is better), seconds of the guided loop and in total, peak memory")
    for column in ("case", "prompt", *columns):
        table.add_column(column.replace("_", "\n"), justify="left" if column in ("case", "prompt") else "right")
    for record in records[:SHOWN]:
        table.add_row(record["id"], record["prompt"], *(show(column[record["id"]]) for column in columns.values()))
    if len(records) > SHOWN:
        table.add_row(f"... {len(records) - SHOWN} more", *[""] * (len(columns) + 1))
    table.add_section()
    means = [summarise(column) for column in columns.values()]
    table.add_row("mean", "", *(f"{show(mean.mean)}\nn={mean.n}" for mean in means))
    return table


def memory_kind(records: list[Record]) -> str:
    """Which memory to show: in device tensors where there are some, else the process'."""
    on_device = any(r["cost"]["memory_gib"]["allocated"] is not None for r in records)
    return "allocated" if on_device else "resident"


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
