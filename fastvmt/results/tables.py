"""What a run prints at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from fastvmt.results.case_record import CaseRecord
from fastvmt.results.columns import absences, cost_summaries, healthy, score_summaries
from fastvmt.results.doubts import doubt_notes, signs
from fastvmt.results.statistics import Summary
from fastvmt.terminal import literal_text

SHOWN = 24
"""Cases in the table; the files have all."""
MOTION = "motion_fidelity"
COVERAGE = ("coverage", "coverage_reference")
"""What motion fidelity is to be read with."""
NAMED = 3
"""Quantities of a reason that are named below the means."""


def score_table(records: Sequence[CaseRecord], headline: Mapping[str, str]) -> Table:
    """Show seconds and scores per case: ``headline`` has their columns and heads, which say if higher is not better.

    Beside motion fidelity stands the smaller coverage of both videos. Scores that are not to be read have signs, which
    the caption explains.
    """
    columns = with_coverage(headline) if any(COVERAGE[0] in record.scores for record in records) else dict(headline)
    table = Table(title="scores (higher is better, unless a head says otherwise) and seconds")
    table.add_column("case and prompt", overflow="fold")
    for column in (*columns.values(), "seconds"):
        table.add_column(literal_text(column), justify="right", no_wrap=True)
    for record in records[:SHOWN]:
        values = [shown_score(record.scores, name) for name in columns]
        if record.diverged is not None:
            values = ["diverged", *values[1:]] if values else values
        table.add_row(literal_text(f"{record.id}\n{record.prompt}"), *values, f"{record.seconds['total']:.1f}")
    if len(records) > SHOWN:
        table.add_row(f"... {len(records) - SHOWN} more", *[""] * (len(columns) + 1))
    explain(table, doubt_notes({"": [record.scores for record in records]}, list(columns)))
    return table


def with_coverage(headline: Mapping[str, str]) -> dict[str, str]:
    """Put coverage behind motion fidelity, where that is among the columns."""
    columns: dict[str, str] = {}
    for name, head in headline.items():
        columns[name] = head
        if name == MOTION:
            columns[COVERAGE[0]] = COVERAGE[0]
    return columns


def shown_score(scores: Mapping[str, float], name: str) -> str:
    """Write a score with its signs; of coverage the smaller one of both videos."""
    if name == COVERAGE[0]:
        return show(min((scores[each] for each in COVERAGE if each in scores), default=None))
    return show(scores.get(name)) + signs([scores], name)


def explain(table: Table, notes: Sequence[str]) -> None:
    """Write notes below a table."""
    table.caption = literal_text("\n".join(notes)) if notes else None
    table.caption_justify = "left"


def mean_table(records: Sequence[CaseRecord]) -> Table:
    """Means over cases: the scores, seconds of the guided loop and in total, peak memory, energy.

    What no case has is no row: it is named below the table by its reason.
    """
    found = score_summaries(records)
    beside = [name for name in COVERAGE if MOTION in found and name in found]
    order = [name for name in found if name not in beside]
    at = order.index(MOTION) + 1 if beside else 0
    scores = {name: found[name] for name in (*order[:at], *beside, *order[at:])}
    rows = {name.replace("_", " "): row for name, row in scores.items()}
    for name, row in cost_summaries(records).items():
        what, unit = name.replace("_", " ").rsplit(" ", 1)
        rows[f"{what}, {unit}"] = row
    title = "means over cases (seeds averaged within)"
    if diverged := len(records) - len(healthy(records)):
        title += f", without {diverged} of {len(records)} that diverged"
    videos = [record.scores for record in healthy(records)]
    marks = {name.replace("_", " "): signs(videos, name) for name in scores}
    table = summary_table(title, {n: row for n, row in rows.items() if row.n}, marks)
    absent = [name for name, row in rows.items() if not row.n]
    told = [f"n/a for every case: {'; '.join(by_reason(records, absent))}"] if absent else []
    explain(table, [*doubt_notes({"": videos}, [name for name, row in scores.items() if row.n]), *told])
    return table


def by_reason(records: Sequence[CaseRecord], names: Sequence[str]) -> list[str]:
    """Group what no case has by the reason: the first names of each, how many more, and the reason."""
    groups: dict[str, list[str]] = {}
    for name in names:
        why = ", ".join(absences(records, name.replace(" ", "_"))) or "not measured here"
        groups.setdefault(why, []).append(name)
    told = []
    for why, group in groups.items():
        more = f" and {len(group) - NAMED} more" if len(group) > NAMED else ""
        told.append(f"{', '.join(group[:NAMED])}{more} ({why})")
    return told


def summary_table(title: str, rows: Mapping[str, Summary], marks: Mapping[str, str] | None = None) -> Table:
    """One row per quantity with the number n of cases behind its mean, and its signs of doubt behind that."""
    table = Table(title=title)
    for column in ("", "mean", "std", "std over seeds", "n"):
        table.add_column(column, justify="right" if column else "left")
    for name, row in rows.items():
        mean = show(row.mean) + (marks or {}).get(name, "")
        table.add_row(literal_text(name), mean, show(row.std), show(row.seed_std), str(row.n))
    return table


def show(value: float | None) -> str:
    """Three decimals below ten and one above, or n/a."""
    if value is None or value != value:
        return "n/a"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
