"""Counts per kind, and everything that is not clear, as JSON and as a page."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.checks.trial import Finding, Verdict

COLUMNS = ("tried", *(verdict.value for verdict in reversed(Verdict)))
ORDER = {verdict.value: number for number, verdict in enumerate(Verdict)}
EXAMPLES = 6
"""Trials of a group that the page names."""


def counts(findings: Sequence[Finding]) -> dict[str, dict[str, int]]:
    """Trials by kind and verdict, and those of all kinds."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for found in findings:
        for kind in (found.kind, "all"):
            table[kind].update(("tried", found.verdict))
    return {kind: {column: table[kind][column] for column in COLUMNS} for kind in table}


def essence(found: Finding) -> str:
    """What makes two findings one fault: the verdict, the reason, and the last line without its particulars."""
    if found.place:
        return found.place
    line = found.last if found.verdict != Verdict.wrong.value or found.code else ""
    text = re.sub(r"@here@\S*|'[^']*'|\"[^\"]*\"|[\d.]+|\S*/\S*", "~", f"{found.reason} | {line}")
    return re.sub(r"[\w.]+=(?:~|\S*)", "key=~", text)[:160]


def groups(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings that are not clear, by fault; the worst and the largest first."""
    found: dict[tuple[str, str, str], list[Finding]] = defaultdict(list)
    for each in findings:
        if each.verdict != Verdict.clear.value:
            found[each.verdict, each.kind, essence(each)].append(each)
    return [rows for key, rows in sorted(found.items(), key=lambda item: (ORDER[item[0][0]], -len(item[1])))]


def page(findings: Sequence[Finding], skipped: Sequence[str]) -> str:
    """The report as Markdown."""
    table = counts(findings)
    lines = ["# Bad inputs", "", f"| kind | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for kind, row in sorted(table.items(), key=lambda item: item[0] == "all"):
        lines.append(f"| {kind} | {' | '.join(str(row[column]) for column in COLUMNS)} |")
    lines += ["", *(f"Not tried here: {reason}." for reason in skipped)]
    for rows in groups(findings):
        first = rows[0]
        lines += ["", f"## {first.verdict}, {first.kind}: {len(rows)}", "", f"{first.reason}; exit code {first.code}"]
        lines += [f"- ends in {first.place}"] if first.place else []
        lines += [f"- last line: `{first.last[:300]}`"] if first.last else []
        lines += [f"- `{row.id.split('/', 1)[1][:120]}`: {row.reason[:200]}" for row in rows[:EXAMPLES]]
        lines += [f"- and {len(rows) - EXAMPLES} more"] if len(rows) > EXAMPLES else []
        lines += ["", "```", first.command[:600], "```"]
    return "\n".join(lines) + "\n"


def write(folder: Path, findings: Sequence[Finding], skipped: Sequence[str], about: Mapping[str, Any]) -> None:
    """``faults.json`` and ``faults.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    rest = [found.row() for rows in groups(findings) for found in rows]
    content = {**about, "counts": counts(findings), "not_tried": list(skipped), "not_clear": rest}
    (folder / "faults.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "faults.md").write_text(page(findings, skipped), encoding="utf-8")
