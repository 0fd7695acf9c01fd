"""The table of a study as people read it: caption, claims, published numbers and footnotes around it, in four forms."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastvmt.results.columns import healthy
from fastvmt.results.folder import RunFolder
from fastvmt.results.machines import contended
from fastvmt.results.statistics import FEWEST, finite, reference_of, seedless
from fastvmt.studies.claims import Verdict, verdicts
from fastvmt.studies.command import command
from fastvmt.studies.forms import (
    code,
    comma_separated,
    footnotes,
    latex,
    latex_words,
    literal,
    markdown,
    one_line,
    plain,
    text,
)
from fastvmt.studies.grid import Grid, no_grid
from fastvmt.studies.published import TABLES, Published
from fastvmt.studies.quantities import CONTENDED, DRIFT, RATIO, known_columns
from fastvmt.studies.table import Part, StudyTable, drifts, parts_of


def caption(table: StudyTable) -> list[str]:
    """Say what the numbers are of, and what they must not be taken for: a sentence each."""
    records = [record for row in table.rows for record in row.records]
    ids = {record.id for record in records}
    lines = [table.spec.question] if table.spec.question else []
    seeds = len({record.seed for record in records}) if not ids else len(ids) // max(1, len(set(map(seedless, ids))))
    lines.append(
        f"{len(set(map(reference_of, ids)))} references, {len(set(map(seedless, ids)))} cases, {seeds} seed(s) each; "
        f"{conditions(table)}."
    )
    if table.spec.cases:
        lines.append(f"Only cases with {' or '.join(table.spec.cases)} in their ids.")
    base = table.names[table.base]
    if table.spec.base and not table.rows[table.base].matches(table.spec.base):
        wanted = ", ".join(f"{key}={value}" for key, value in table.spec.base.items())
        lines.append(f"The row to compare with, {wanted}, is not here: the first stands in for it.")
    lines.append(
        f"Bold: the difference to {base}, paired by case with references resampled, is significant by Holm's "
        f"correction within the column. From fewer than {FEWEST} references none is."
    )
    if RATIO in table.columns:
        lines.append(
            f"Loop ratio: seconds of guidance and denoising, of CPU where that computes, over those of {base} on the "
            "same machine; reading the reference, which later cases find in the cache, is not among them."
        )
        if drifts(table):
            lines[-1] += f" Others wanted the machine: differences below {DRIFT} are not told from 0."
    lines += [*left_out(table), *no_grid(table), *cut_short(table)]
    if busy := sum(contended(record) for record in healthy(records)):
        lines.append(f"{busy} of {len(records)} cases have no wall seconds: {CONTENDED}.")
    lines += table.untimed
    if diverged := len(records) - len(healthy(records)):
        lines.append(f"{diverged} of {len(records)} cases diverged and are in no mean.")
    if table.chance:
        lines.append(chance_words(table))
    own = [record for row in table.rows if not row.name for record in row.records]
    makers = Counter((short(record.maker["commit"]), record.maker["hardware"]) for record in own)
    if makers:
        lines.append("Made at " + ", ".join(f"{made} on {where}" for made, where in makers) + ".")
    if others := [row.name for row in table.rows if row.name]:
        lines.append(f"Clips of other systems, scored here, what they cost unknown: {', '.join(others)}.")
    return lines


def conditions(table: StudyTable) -> str:
    """List the sizes of clips, models, trackers and CLIPs of a table's rows: all that occur, in the rows' order."""
    configs = [row.config for row in table.rows]
    own = [row for row in table.rows if not row.name] or table.rows
    found = (
        [f"{each.frames} frames of {each.size[0]} x {each.size[1]}" for row in table.rows for each in row.records],
        [f"{row.config['backbone']['name']} (weights {each.weights[:12]})" for row in own for each in row.records],
        [f"tracker {config['tracker']['_target_'].rsplit('.', 1)[-1]}" for config in configs],
        [f"CLIP {model}" if (model := config["metrics"]["clip"]["model"]) else "no CLIP" for config in configs],
    )
    return ", ".join(" and ".join(dict.fromkeys(words)) for words in found)


def chance_words(table: StudyTable) -> str:
    """Say what every row scores on references that it does not follow."""
    levels = [f"{table.names[i]} {text(each.fidelity)}, {text(each.dynamic)}" for i, each in table.chance.items()]
    most = max(table.chance.values(), key=lambda each: each.pairs)
    return (
        "Chance level, motion fidelity to references that the videos do not follow and its dynamic form (means over "
        f"up to {most.pairs} pairs, {most.references} references): {'; '.join(levels)}."
    )


def left_out(table: StudyTable) -> list[str]:
    """Name the columns of a table's specification that no case has; not those that were not asked for."""
    every = [record for row in table.rows for record in row.records]
    rows = range(len(table.rows))
    known = {name for name in known_columns(every) if any(finite(table.values(i, name)) for i in rows)}
    gone = [name.replace("_", " ") for name in table.spec.columns if name not in {*table.columns, *known}]
    return [f"Not shown, n/a for every case: {', '.join(gone)}."] if gone else []


def cut_short(table: StudyTable) -> list[str]:
    """Name the rows that have fewer cases than they were asked for; nothing in a table of chosen cases."""
    asked = {name: RunFolder(row.folder).asked or 0 for name, row in zip(table.names, table.rows, strict=True)}
    made = {name: len(row.records) for name, row in zip(table.names, table.rows, strict=True)}
    few = [f"{name}: {made[name]} of {asked[name]}" for name in made if made[name] < asked[name]]
    return (
        [f"Rows with fewer cases than they were asked for: {'; '.join(few)}."] if few and not table.spec.cases else []
    )


def short(commit: str) -> str:
    """Cut a commit, but not the sign that its checkout had changes."""
    return f"{commit[:12]}{'+' if commit.endswith('+') else ''}"


def table_markdown(table: StudyTable, grid: Grid | None) -> str:
    """Write everything in Markdown."""
    parts = [f"`{one_line(command(table))}`", *(literal(line) for line in caption(table))]
    parts.append(markdown(table.names, table.columns, table.entries).rstrip())
    if grid is not None:
        parts.append(grid_markdown(grid))
    if apart := parts_of(table):
        parts.append(parts_markdown(table.names, apart))
    if found := verdicts(table):
        parts.append(claims_markdown(found))
    if published := TABLES.get(table.spec.published or ""):
        parts.append(published_markdown(published))
    return "\n\n".join([*parts, *(literal(note) for note in [*table.doubts, *footnotes(table.absent)])]) + "\n"


def parts_markdown(names: Sequence[str], parts: Sequence[Part]) -> str:
    """Write the scores of parts of the cases, with the n behind each."""
    heads = [f"{name.replace('_', ' ')}, {part.name}" for part in parts for name in part.columns]
    lines = [f"| row | {' | '.join(map(literal, heads))} |", "|---|" + "---|" * len(heads)]
    for row, name in enumerate(names):
        entries = [entry for part in parts for entry in part.entries[row]]
        lines.append(f"| {code(name)} | " + " | ".join(f"{text(each.mean)} ({each.n})" for each in entries) + " |")
    return "\n".join(lines)


def claims_markdown(found: Sequence[Verdict]) -> str:
    """List claims with their verdicts; margins are left minus right of what is claimed to be larger."""
    lines = ["| claim | verdict | margin, left minus right | 95 % interval |", "|---|---|---|---|"]
    for each in found:
        span = f"{text(each.low)} .. {text(each.high)}" if math.isfinite(each.low) else literal(each.why)
        lines.append(f"| {code(each.claim)} | **{each.verdict}** | {text(each.margin)} | {span} |")
    return "\n".join(lines)


def grid_markdown(grid: Grid) -> str:
    """Write a grid of one column."""
    head = f"| {literal(grid.column.replace('_', ' '))} | " + " | ".join(
        code(f"{grid.keys[1]}={value}") for value in grid.columns
    )
    lines = [f"{head} |", "|---|" + "---|" * len(grid.columns)]
    for row in grid.rows:
        means = [grid.means.get((row, column)) for column in grid.columns]
        shown = ["" if entry is None else literal(f"{text(entry.mean)}{entry.signs}") for entry in means]
        lines.append(f"| {code(f'{grid.keys[0]}={row}')} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def published_markdown(published: Published) -> str:
    """Write a paper's table, apart from ours."""
    columns = list(dict.fromkeys(name for row in published.rows.values() for name in row))
    head = " | ".join(literal(name.replace("_", " ")) for name in columns)
    lines = [
        f"Published, not to be compared with ours: {literal(published.source)}; {literal(published.conditions)}.",
        "",
        f"| row | {head} |",
        "|---|" + "---|" * len(columns),
    ]
    for name, row in published.rows.items():
        lines.append(f"| {code(name)} | " + " | ".join(text(row.get(each, math.nan)) for each in columns) + " |")
    return "\n".join(lines)


def table_latex(table: StudyTable) -> str:
    """Write the table for LaTeX with booktabs, as a float that compiles by itself."""
    told = " ".join(
        latex_words(line) for line in [*caption(table), *(f"{note[0].upper()}{note[1:]}." for note in table.doubts)]
    )
    body = latex(table.names, table.columns, table.entries)
    notes = "".join(f"% {note}\n" for note in [*footnotes(table.absent), one_line(command(table))])
    start = "% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n"
    return f"{start}\\caption{{{told}}}\n{body}\\end{{table}}\n{notes}"


def table_csv(table: StudyTable) -> str:
    """Write every mean, n and difference in full precision."""
    return comma_separated(table.names, table.columns, table.entries)


def table_json(table: StudyTable, grid: Grid | None) -> dict[str, Any]:
    """Give everything as plain values."""
    rows = [
        {"row": name, "values": dict(row.values), "folder": row.folder.name, "overrides": list(row.overrides)}
        | {"cells": {each: plain(entry) for each, entry in zip(table.columns, line, strict=True)}}
        for name, row, line in zip(table.names, table.rows, table.entries, strict=True)
    ]
    published = TABLES.get(table.spec.published or "")
    return {
        "question": table.spec.question,
        "command": command(table),
        "caption": caption(table),
        "base": table.names[table.base],
        "rows": rows,
        "grid": None if grid is None else [[*keys, plain(entry)] for keys, entry in grid.means.items()],
        "parts": {part.name: parts_json(table.names, part) for part in parts_of(table)},
        "claims": [asdict(each) for each in verdicts(table)],
        "published": None if published is None else asdict(published),
        "missing": table.absent,
        "chance": {table.names[i]: asdict(each) for i, each in table.chance.items()},
        "doubts": table.doubts,
    }


def parts_json(names: Sequence[str], part: Part) -> dict[str, Any]:
    """Give a part's entries as plain values, by row and column."""
    return {
        name: {column: plain(entry) for column, entry in zip(part.columns, line, strict=True)}
        for name, line in zip(names, part.entries, strict=True)
    }
