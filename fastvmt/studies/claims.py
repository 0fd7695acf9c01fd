"""What a study claims, held against its numbers: supported, contradicted or undecided.

A claim is an inequality of means, ``motion_fidelity[3] - motion_fidelity[1] > -0.02``: a column, and in brackets the
value of the one swept key, the name of a named row, or a row's whole name in quotes.
"""

from __future__ import annotations

import ast
import math
import operator
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import numpy as np

from fastvmt.results.pairing import unlike_cases
from fastvmt.results.statistics import FEWEST, Floats, finite, reference_of, resampled, seed_means
from fastvmt.studies.quantities import CONTENDED, DRIFT, RATIO
from fastvmt.studies.rows import Row, plain
from fastvmt.studies.table import StudyTable, drifts

OPERATIONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
SHOWN = 80
"""Characters of a claim in a message."""
LONGEST = 1000
"""Characters of a claim."""
LARGEST = sys.float_info.max
"""Of a number in a claim."""
Term = tuple[str, str]
"""A column, and the row in brackets."""


@dataclass(frozen=True)
class Verdict:
    """A claim and what the numbers say."""

    claim: str
    verdict: str
    """``supported`` or ``contradicted`` where the whole 95 % interval of left minus right says so, else
    ``undecided``."""
    margin: float
    """Left minus right, turned so that the claim says that it is above 0."""
    low: float
    high: float
    why: str = ""
    """Of what is undecided for another reason than its interval."""


def verdicts(table: StudyTable) -> list[Verdict]:
    """Judge the claims of a table's specification."""
    return [judged(table, claim) for claim in table.spec.claims]


def judged(table: StudyTable, claim: str) -> Verdict:
    """Judge one claim over the cases that all its terms have, references resampled."""
    undecided = Verdict(claim, "undecided", math.nan, math.nan, math.nan)
    try:
        margin = margin_of(claim)
        columns = columns_of(table, terms(margin))
    except ValueError as error:
        return Verdict(claim, "undecided", math.nan, math.nan, math.nan, str(error))
    shared = list(next(iter(columns.values())))
    if not shared:
        return Verdict(claim, "undecided", math.nan, math.nan, math.nan, "no case has all its terms")
    references = list(dict.fromkeys(map(reference_of, shared)))
    picks = resampled(len(references))

    def means(column: Mapping[str, float]) -> tuple[float, Floats]:
        clusters = [[column[case] for case in shared if reference_of(case) == name] for name in references]
        sums = np.array([sum(cluster) for cluster in clusters])
        counts = np.array([len(cluster) for cluster in clusters])
        return float(sums.sum() / counts.sum()), sums[picks].sum(1) / counts[picks].sum(1)

    found = {term: means(column) for term, column in columns.items()}
    with np.errstate(all="ignore"):  # a mean of 0 may be divided by
        value = float(evaluated(margin, {term: np.float64(mean) for term, (mean, _) in found.items()}))
        spread = evaluated(margin, {term: many for term, (_, many) in found.items()})
    if not (math.isfinite(value) and np.isfinite(spread).all()):
        return Verdict(claim, "undecided", math.nan, math.nan, math.nan, "it divides by 0")
    if len(references) < FEWEST:
        return Verdict(claim, undecided.verdict, value, math.nan, math.nan, f"fewer than {FEWEST} references")
    low, high = (float(each) for each in np.percentile(spread, [2.5, 97.5]))
    if abs(value) < DRIFT and drifts(table) and {name for name, _ in columns} == {RATIO}:
        return Verdict(claim, "undecided", value, low, high, f"{CONTENDED}: loop ratios drift by up to {DRIFT}")
    verdict = "supported" if low > 0 else "contradicted" if high < 0 else "undecided"
    return Verdict(claim, verdict, value, low, high)


def unreadable(claims: Iterable[object]) -> str:
    """Say which of some claims cannot be judged by any table, and why; nothing where all can."""
    for claim in claims:
        try:
            margin_of(str(claim))
        except ValueError as error:
            shown = shorten(str(claim), SHOWN)
            return f"table.claims={shown!r} is no claim: {error}; one is  motion_fidelity[3] > motion_fidelity[1]"
    return ""


def margin_of(claim: str) -> ast.expr:
    """Read a claim as the expression that it says is above 0. Raises ``ValueError`` for anything else."""
    if len(claim) > LONGEST:
        raise ValueError(f"it has {len(claim)} characters, more than {LONGEST}")
    try:
        tree = ast.parse(claim, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"it cannot be read: {getattr(error, 'msg', error)}") from error
    if not isinstance(tree, ast.Compare) or len(tree.ops) != 1 or not isinstance(tree.ops[0], ast.Gt | ast.Lt):
        raise ValueError("it is no inequality of two sides with < or >")
    left, right = tree.left, tree.comparators[0]
    sides = (left, right) if isinstance(tree.ops[0], ast.Gt) else (right, left)
    margin = ast.BinOp(sides[0], ast.Sub(), sides[1])
    if not terms(margin):
        raise ValueError("it names no column")
    return margin


def terms(node: ast.expr) -> list[Term]:
    """List the columns and rows of an expression. Raises ``ValueError`` for what a claim may not hold."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        return [*terms(node.left), *terms(node.right)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return terms(node.operand)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return [(node.value.id, bracket(node.slice))]
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and abs(node.value) <= LARGEST:
        return []
    raise ValueError(f"{ast.unparse(node)} is no number and no column[row]")


def bracket(node: ast.expr) -> str:
    """Give the row in brackets as it is written, without quotes."""
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)


def columns_of(table: StudyTable, found: Sequence[Term]) -> dict[Term, dict[str, float]]:
    """Give the terms' columns over the cases that all their rows have, of one prompt and reference, seeds averaged.

    A seed that one of the rows lacks counts in none.

    Raises ``ValueError`` for a row or a column that is not there.
    """
    rows = {term: row_of(table, term) for term in found}
    columns = {term: finite(table.values(row, term[0])) for term, row in rows.items()}
    if missing := [term for term, column in columns.items() if not column]:
        name, wanted = missing[0]
        raise ValueError(f"{name} is n/a in row {wanted}")
    unlike = unlike_cases(*(table.rows[row].records for row in rows.values()))
    shared = set.intersection(*map(set, columns.values())) - unlike
    return {
        term: seed_means({case: column[case] for case in column if case in shared}) for term, column in columns.items()
    }


def row_of(table: StudyTable, term: Term) -> int:
    """Find the row of a term. Raises ``ValueError`` where none or more than one has its name."""
    rows = [i for i, row in enumerate(table.rows) if is_row(row, table.names[i], term[1])]
    if len(rows) != 1:
        raise ValueError(f"{'no' if not rows else 'more than one'} row is {term[1]}")
    return rows[0]


def is_row(row: Row, name: str, wanted: str) -> bool:
    """Whether brackets name a row."""
    return plain(wanted) in (plain(name), *([plain(*row.values.values())] if len(row.values) == 1 else []))


def evaluated(node: ast.expr, values: Mapping[Term, Any]) -> Any:
    """Compute an expression that :func:`terms` has read, with numbers or with arrays of them."""
    if isinstance(node, ast.BinOp):
        return OPERATIONS[type(node.op)](evaluated(node.left, values), evaluated(node.right, values))
    if isinstance(node, ast.UnaryOp):
        return -evaluated(node.operand, values)
    if isinstance(node, ast.Subscript):
        return values[terms(node)[0]]
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, int | float)
    return np.float64(node.value)  # which divides by 0 without an error
