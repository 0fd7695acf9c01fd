"""Whether a table in LaTeX would compile, as far as that can be told without LaTeX."""

from __future__ import annotations

import re

COLUMNS = re.compile(r"\\begin\{tabular\}\{([lrc]+)\}")
ENVIRONMENT = re.compile(r"\\(begin|end)\{(\w+\*?)\}")
LINE = re.compile(r"\\\\")
RULES = ("toprule", "midrule", "bottomrule")


def tex_faults(text: str) -> list[str]:
    """List what LaTeX would refuse: braces, environments, lines of a tabular with more or fewer cells than columns."""
    lines = [re.sub(r"(?<!\\)((?:\\\\)*)%.*", r"\1", line) for line in text.splitlines()]
    body = re.sub(r"\\[{}$&#_%]", "", "\n".join(lines))  # escaped signs are words
    return [*unbalanced(body), *unclosed(body), *uneven(body), *raw(body)]


def unbalanced(body: str) -> list[str]:
    """Name braces and dollars without a partner."""
    depth = 0
    for letter in body:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth < 0:
            return ["a brace closes that was not opened"]
    return [*(["a brace is never closed"] if depth else []), *(["a dollar is alone"] if body.count("$") % 2 else [])]


def unclosed(body: str) -> list[str]:
    """Name environments that do not close in their order."""
    opened: list[str] = []
    for kind, name in ENVIRONMENT.findall(body):
        if kind == "begin":
            opened.append(name)
        elif not opened or opened.pop() != name:
            return [f"\\end{{{name}}} closes nothing"]
    return [f"\\begin{{{name}}} is never closed" for name in opened]


def uneven(body: str) -> list[str]:
    """Name lines of a tabular that have not one cell for each column."""
    begin, end = COLUMNS.search(body), body.find(r"\end{tabular}")
    if begin is None or end < 0:
        return ["there is no tabular"]
    inside = re.sub("|".join(rf"\\{rule}" for rule in RULES), "", body[begin.end() : end])
    *lines, rest = (line.strip() for line in LINE.split(inside))
    counts = [(line, line.count("&") + 1) for line in lines]
    faults = [f"{count} cells, not {len(begin[1])}: {line[:60]}" for line, count in counts if count != len(begin[1])]
    return [*faults, *([f"a line without its end: {rest[:60]}"] if rest else [])]


def raw(body: str) -> list[str]:
    """Name signs that mean something else outside of a table's cells or of mathematics."""
    words = re.sub(r"\$[^$]*\$", "", body)
    return [f"a raw {sign}" for sign in "#_^~" if sign in words]
