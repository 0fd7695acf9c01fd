"""A table of a study in Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence

from fastvmt.studies.table import Entry
from fastvmt.terminal import harmless

TABLE_BAR = r"\|"
"""A bar that does not end a cell of a Markdown table, in code too."""


def text(value: float) -> str:
    """Write a number for a table."""
    return "n/a" if math.isnan(value) else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def counted(cell: Entry, most: int) -> str:
    """Write a mean with its signs of doubt, and its own n behind it where that is not ``most``, the n of the row."""
    mean = f"{text(cell.mean)}{cell.signs}"
    return mean if cell.n in (0, most) else f"{mean} ({cell.n})"


def one_line(words: str) -> str:
    """Write words without line breaks and other control characters."""
    return harmless(" ".join(words.split()))


def literal(words: str) -> str:
    """Give words as Markdown prints them literally, in a line."""
    return re.sub(r"([\\`*\[\]<>|&#~!])", r"\\\1", one_line(words))


def code(words: str) -> str:
    """Give words as code in a cell of a Markdown table: literal, whatever they hold."""
    longest = max((len(run) for run in re.findall("`+", words)), default=0)
    fence = "`" * (longest + 1)
    space = " " * (longest > 0)
    return f"{fence}{space}{one_line(words).replace('|', TABLE_BAR)}{space}{fence}"


def markdown(names: Sequence[str], columns: Sequence[str], body: Sequence[Sequence[Entry]]) -> str:
    """Write a table in Markdown; bold: the difference to the base row is significant.

    Behind a mean its own n, where it is not the row's.
    """
    heads = [literal(name.replace("_", " ")) for name in columns]
    lines = ["| row | n | " + " | ".join(heads) + " |", "|---|" + "---|" * (len(columns) + 1)]
    for name, line in zip(names, body, strict=True):
        most = max(cell.n for cell in line)
        texts = [literal(counted(cell, most)) for cell in line]
        shown = [f"**{mean}**" if cell.significant else mean for mean, cell in zip(texts, line, strict=True)]
        lines.append(f"| {code(name)} | {most} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def footnotes(absent: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Say why scores are n/a, and for how many cases of all rows: a line per score."""
    reasons = {score: "; ".join(f"{why} ({cases})" for why, cases in found.items()) for score, found in absent.items()}
    return [one_line(f"{score.replace('_', ' ')} is n/a, by number of cases: {why}") for score, why in reasons.items()]


ESCAPES = (
    {"\\": r"\textbackslash{}"}
    | {letter: f"\\{letter}" for letter in "&%$#_{}"}
    | {letter: f"{{{letter}}}" for letter in "[]-'\""}  # no optional argument, no ligature
    | {
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "|": r"\textbar{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "`": r"\textasciigrave{}",
    }
)


def latex_words(words: str) -> str:
    """Give words as LaTeX prints them literally."""
    return "".join(ESCAPES.get(letter, letter) for letter in one_line(words))


def latex(names: Sequence[str], columns: Sequence[str], body: Sequence[Sequence[Entry]]) -> str:
    """Write a table for LaTeX's booktabs; bold as in :func:`markdown`."""

    lines = [r"\begin{tabular}{l" + "r" * (len(columns) + 1) + "}", r"\toprule"]
    lines.append(" & ".join(["row", "$n$", *(latex_words(name.replace("_", " ")) for name in columns)]) + r" \\")
    lines.append(r"\midrule")
    for name, line in zip(names, body, strict=True):
        most = max(cell.n for cell in line)
        shown = [rf"\textbf{{{counted(cell, most)}}}" if cell.significant else counted(cell, most) for cell in line]
        lines.append(" & ".join([latex_words(name), str(most), *shown]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def comma_separated(names: Sequence[str], columns: Sequence[str], body: Sequence[Sequence[Entry]]) -> str:
    """Write every mean, n and difference with its interval, in full precision, as CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    parts = ("mean", "n", "difference", "low", "high", "p")
    writer.writerow(["row", *(f"{one_line(name)}_{part}" for name in columns for part in parts)])
    for name, line in zip(names, body, strict=True):
        writer.writerow([one_line(name), *(value for cell in line for value in plain(cell).values())])
    return stream.getvalue()


def plain(cell: Entry) -> dict[str, float | int | None]:
    """Give a cell as plain values; None where there is no difference."""
    paired = cell.difference
    found: dict[str, float | int | None] = {"mean": cell.mean, "n": cell.n}
    if paired is None:
        return found | dict.fromkeys(("difference", "low", "high", "p"))
    return found | {"difference": paired.mean, "low": paired.low, "high": paired.high, "p": paired.p}
