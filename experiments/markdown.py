"""Cells and tables in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(name.replace("_", " ") for name in head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(cells) + " |" for cells in rows)]


def two_digits(value: float) -> str:
    """A number with two decimals, or n/a."""
    return "n/a" if math.isnan(value) else f"{value:.2f}"
