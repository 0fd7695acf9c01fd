"""What a run prints at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from fastvmt.results.case_record import CaseRecord
from fastvmt.results.columns import absences, cost_summaries, healthy, score_summaries
from fastvmt.results.statistics import Summary
from fastvmt.terminal import literal_text

SHOWN = 24
"""Cases in the table; the files have all."""


def score_table(records: Sequence[CaseRecord], headline: Mapping[str, str]) -> Table:
    """Show seconds and scores per case: ``headline`` has their columns and short heads."""
    table = Table(title="scores (higher is better) and seconds")
    table.add_column("case and prompt", overflow="fold")
    for column in (*headline.values(), "seconds"):
        table.add_column(literal_text(column), justify="right", no_wrap=True)
    for record in records[:SHOWN]:
        values = [show(record.scores.get(name)) for name in headline]
        if record.diverged is not None:
            values = ["diverged", *values[1:]] if values else values
        table.add_row(literal_text(f"{record.id}\n{record.prompt}"), *values, f"{record.seconds['total']:.1f}")
    if len(records) > SHOWN:
        table.add_row(f"... {len(records) - SHOWN} more", *[""] * (len(headline) + 1))
    return table


def mean_table(records: Sequence[CaseRecord]) -> Table:
    """Means over cases: the scores, seconds of the guided loop and in total, peak memory, energy."""
    rows = {name.replace("_", " "): row for name, row in score_summaries(records).items()}
    for name, row in cost_summaries(records).items():
        what, unit = name.replace("_", " ").rsplit(" ", 1)
        rows[f"{what}, {unit}"] = row
    title = "means over cases (seeds averaged within)"
    if diverged := len(records) - len(healthy(records)):
        title += f", without {diverged} of {len(records)} that diverged"
    table = summary_table(title, {n: row for n, row in rows.items() if row.n})
    if absent := [name for name, row in rows.items() if not row.n]:
        reasons = {name: ", ".join(absences(records, name.replace(" ", "_"))) for name in absent}
        told = [f"{name} ({reasons[name]})" if reasons[name] else name for name in absent]
        table.caption = literal_text(f"n/a for every case: {'; '.join(told)}")
    return table


def summary_table(title: str, rows: Mapping[str, Summary]) -> Table:
    """One row per quantity with the number n of cases behind its mean."""
    table = Table(title=title)
    for column in ("", "mean", "std", "std over seeds", "n"):
        table.add_column(column, justify="right" if column else "left")
    for name, row in rows.items():
        table.add_row(literal_text(name), show(row.mean), show(row.std), show(row.seed_std), str(row.n))
    return table


def show(value: float | None) -> str:
    """Three decimals below ten and one above, or n/a."""
    if value is None or value != value:
        return "n/a"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
