"""The sweep that is stopped again and again: its parts are parts of it."""

from __future__ import annotations

from itertools import product

from experiments.checks.sweep_kills import PARTS, WHOLE, command


def jobs(axes: tuple[str, ...]) -> set[tuple[str, ...]]:
    keys = [axis.split("=")[0] for axis in axes]
    values = [
        [f"{key}={value}" for value in axis.split("=")[1].split(",")] for key, axis in zip(keys, axes, strict=True)
    ]
    assert all(len(each) > 1 for each in values), "a single value is no axis, and names no row"
    return {tuple(sorted(job)) for job in product(*values)}


def test_parts_have_rows_of_the_whole() -> None:
    assert len(jobs(WHOLE)) == 9
    assert all(jobs(part) <= jobs(WHOLE) for part in PARTS)
    assert all(set(part) <= set(command(part)) for part in PARTS)
