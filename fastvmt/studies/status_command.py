"""What ``python -m fastvmt.status`` does: print how far a study is, and how to repeat what failed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fastvmt.studies.command_line import command_parser
from fastvmt.studies.progress import Progress, counts, duration, failures, progress_of, total_left
from fastvmt.terminal import harmless, literal_text

EXAMPLES = """
example:
  python run.py -m window.l=3,5,7 benchmark=world output_dir=outputs/windows
  python -m fastvmt.status outputs/windows       # also while it runs, from another terminal

A row is finished, running, interrupted (stopped or killed: the sweep's command, repeated, goes on), failed (with its
error and the command that repeats it alone) or waiting. Time left: one case after another, at the mean of the row's
finished cases. Exit code 0, also where rows have failed.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = command_parser("status", "Tell how far the rows of a sweep are.", EXAMPLES)
    p.add_argument("folder", type=Path, help="of a sweep or of a run")
    return p


def progress_table(rows: Sequence[Progress]) -> Table:
    """One row per row of the study."""
    table = Table()
    for column in ("row", "cases", "state", "time left"):
        table.add_column(column, justify="left" if column in ("row", "state") else "right", overflow="fold")
    for row in rows:
        cases = f"{row.done}/{'?' if row.expected is None else row.expected}"
        table.add_row(literal_text(row.name), cases, row.state, duration(row.left))
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line about what the user can mend."""
    arguments = parser().parse_args(argv)
    try:
        rows = progress_of(arguments.folder)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"fastvmt.status: {error}\n")
        return 2
    Console().print(progress_table(rows))
    left = duration(total_left(rows))
    told = ", ".join(f"{n} {state}" for state, n in counts(rows).items())
    sys.stdout.write(f"{told}{f'; {left} left' if left else ''}\n")
    for failed in failures(rows):
        sys.stdout.write(f"{harmless(failed)}\n")
    return 0
