"""What a dry run prints, and what a benchmark left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from fastvmt.benchmarks import Lost
from fastvmt.cost.memory import GIB, MIB
from fastvmt.engine.plan import Plan
from fastvmt.terminal import literal_text


def memory_line(peaks: Mapping[str, float] | None) -> str:
    """Predicted bytes on the device by stage."""
    if peaks is None:
        return "not known for this architecture"
    unit, name, digits = (GIB, "GiB", 2) if max(peaks.values()) >= GIB else (MIB, "MiB", 0)
    return ", ".join(f"{stage} {size / unit:.{digits}f}" for stage, size in peaks.items()) + f" {name}"


def plan_table(plan: Plan, peaks: Mapping[str, float] | None) -> Table:
    """What would run, and the bytes that are predicted for it."""
    layout = plan.layout
    sampler = plan.sampler
    levels = f"shift {sampler.shift}" if sampler.sigmas is None else f"noise levels {list(sampler.sigmas)}"
    second = "" if sampler.cfg_scale_2 is None else f", {sampler.cfg_scale_2} below noise level {layout.boundary}"
    table = Table(title="dry run: valid", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")  # a path is read to its end
    rows = {
        "cases": str(len(plan.cases)),
        "references left out": str(len(plan.cases.lost)),
        "method": plan.method.name,
        "backbone": f"{layout.name}, {layout.depth} blocks",
        "clip": f"{layout.frames} frames, {layout.height} x {layout.width}",
        "tokens": "{} x {} x {}".format(*layout.grid),
        "sampler": f"{sampler.name}, {sampler.steps} steps, {levels}, CFG {sampler.cfg_scale}{second}",
        "strength": str(sampler.strength),
        "inner iterations per case": str(plan.method.inner_iterations(sampler.steps)),
        "memory, predicted": memory_line(peaks),
        "output": plan.cfg.output_dir,
    }
    for name, value in rows.items():
        table.add_row(name, literal_text(value))
    return table


def lost_table(lost: Sequence[Lost]) -> Table:
    """References that were left out, and why."""
    table = Table(title=f"{len(lost)} references left out, {sum(row.cases for row in lost)} cases")
    for column in ("reference", "cases", "reason"):
        table.add_column(column)
    for row in lost:
        table.add_row(literal_text(row.reference), str(row.cases), literal_text(row.reason))
    return table
