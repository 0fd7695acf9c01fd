"""What a reader must know before the numbers of a study: rows that are missing, alike, or not to be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from fastvmt.results.case_record import CaseRecord
from fastvmt.results.columns import healthy
from fastvmt.results.events import FAILED, FINISHED
from fastvmt.results.machines import contended, machine_words, machines
from fastvmt.results.statistics import FEWEST, reference_of
from fastvmt.studies.progress import Progress, begun, progress_of
from fastvmt.studies.quantities import CONTENDED
from fastvmt.studies.table import StudyTable


def warnings(table: StudyTable, folder: Path) -> list[str]:
    """List the warnings of a study, the gravest first: a sentence each."""
    found = [unfinished(row) for row in (progress_of(folder) if begun(folder) else ()) if row.state != FINISHED]
    cases = {record.id for row in table.rows for record in row.records}
    for name, row in zip(table.names, table.rows, strict=True):
        if lost := len(cases) - len({record.id for record in row.records}):
            found.append(
                f"Row {name} lacks {lost} of {len(cases)} cases: differences are over those that both rows have."
            )
    found += counted(table, lambda record: record.diverged is not None, "diverged and {are} in no mean")
    found += alike(table)
    if (count := len({reference_of(case) for case in cases})) < FEWEST:
        found.append(f"Fewer than {FEWEST} references ({count}): no interval, no significance, no verdict.")
    found += [f"{note[0].upper()}{note[1:]}." for note in table.doubts]
    found += counted(table, contended, f"{{have}} no wall seconds: {CONTENDED}")
    return found + mixed([record for row in table.rows for record in row.records])


def unfinished(row: Progress) -> str:
    """Tell of a row that is not through."""
    if row.state == FAILED:
        return f"Row {row.name} failed: {row.error}. Again: {row.again or 'unknown'}"
    return f"Row {row.name} is not finished: {row.state}, {row.done} of {row.expected or '?'} cases."


def counted(table: StudyTable, is_so: Callable[[CaseRecord], bool], what: str) -> list[str]:
    """Count the cases of which something is so, row by row, in one sentence; none where it is of no case."""
    counts = {name: sum(map(is_so, row.records)) for name, row in zip(table.names, table.rows, strict=True)}
    if not (total := sum(counts.values())):
        return []
    everywhere = ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
    verbs = {"are": "is", "have": "has"} if total == 1 else {"are": "are", "have": "have"}
    return [f"{total} of {sum(len(row.records) for row in table.rows)} videos {what.format(**verbs)} ({everywhere})."]


def alike(table: StudyTable) -> list[str]:
    """Tell the rows that made the same videos of all their cases, pixel by pixel."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, row in zip(table.names, table.rows, strict=True):
        made = {record.id: record.frames_sha256.get("generated", "") for record in healthy(row.records)}
        if made:
            groups.setdefault(tuple(sorted(made.items())), []).append(name)
    return [
        f"Rows {' and '.join(names)} are the same videos: nothing reads what tells them apart."
        for names in groups.values()
        if len(names) > 1
    ]


def mixed(records: Sequence[CaseRecord]) -> list[str]:
    """Tell of cases from several versions of the code or several machines."""
    found = []
    if len(commits := Counter(record.maker["commit"][:12] for record in records)) > 1:
        found.append("Made by several commits: " + ", ".join(f"{each} ({n})" for each, n in commits.items()) + ".")
    if len(several := machines(records)) > 1:
        found.append(f"Made on several machines, whose seconds do not compare: {machine_words(several)}.")
    return found
