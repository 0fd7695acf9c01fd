"""Cells and tables in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastvmt.results.tables import show


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(name.replace("_", " ") for name in head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(cells) + " |" for cells in rows)]


def counted(entry: Mapping[str, Any]) -> str:
    """A mean and its n."""
    return f"{show(entry['mean'])} ({entry['n']})"


def whole(count: float) -> str:
    """A mean count without decimals, or n/a."""
    return "n/a" if math.isnan(count) else f"{count:.0f}"


def ratio(entry: Mapping[str, Any]) -> str:
    """Ratio of means, geometric mean of the cases' ratios, n."""
    return f"{show(entry['average'])}, {show(entry['geometric'])} ({entry['n']})"


def two_digits(value: float) -> str:
    """A number with two decimals, or n/a."""
    return "n/a" if math.isnan(value) else f"{value:.2f}"


def hundredths(entry: Mapping[str, Any]) -> str:
    """A mean with two decimals; with its n where cases are missing."""
    return two_digits(entry["mean"]) + (f" ({entry['n']})" if entry["missing"] and entry["n"] else "")
