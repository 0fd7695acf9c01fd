"""What a run prints: the plan of a dry run, the scores at the end."""

from __future__ import annotations

from rich.table import Table

from fastvmt.engine.plan import Plan
from fastvmt.engine.record import Record, mean_scores, mean_seconds

HEADLINE = ("motion_fidelity", "trajectory_cosine", "text_similarity", "temporal_consistency")


def plan_table(plan: Plan) -> Table:
    """What would run."""
    layout, sampler = plan.layout, plan.sampler
    table = Table(title="dry run: valid", show_header=False)
    rows = {
        "cases": str(len(plan.cases)),
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
    """Headline scores and seconds per case, and their means."""
    table = Table(title="scores (higher is better) and seconds")
    for column in ("case", "prompt", *HEADLINE, "seconds"):
        table.add_column(column.replace("_", "\n"), justify="left" if column in ("case", "prompt") else "right")
    for record in records[:24]:
        values = [show(record["scores"].get(name)) for name in HEADLINE]
        table.add_row(record["id"], record["prompt"], *values, f"{record['seconds']['total']:.1f}")
    if len(records) > 24:
        table.add_row(f"... {len(records) - 24} more", *[""] * (len(HEADLINE) + 2))
    means, seconds = mean_scores(records), mean_seconds(records)
    table.add_section()
    shown = [f"{means[name]['mean']:.3f} (n={means[name]['n']})" if name in means else "n/a" for name in HEADLINE]
    table.add_row("mean", "", *shown, f"{seconds['total']:.1f}")
    return table


def show(value: float | None) -> str:
    """Three decimals, or n/a."""
    return "n/a" if value is None or value != value else f"{value:.3f}"
