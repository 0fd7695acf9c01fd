"""What ``python -m fastvmt.merge`` does: join studies, write their table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fastvmt.errors import UserError
from fastvmt.studies.command_line import command_parser
from fastvmt.studies.merge import merge
from fastvmt.studies.table_command import FORMS, make_table

EXAMPLES = """
example:
  python run.py experiment=table_delta seeds=[0] output_dir=outputs/a        # on one machine
  python run.py experiment=table_delta seeds=[1000] output_dir=outputs/b     # on another
  python -m fastvmt.merge outputs/a outputs/b --into outputs/whole

Rows are joined by the names of their folders, cases by their ids; what both have alike is taken once. Rows made with
other settings, and cases with other pixels or scores, are refused. Files are links on the same disk, else copies.
All rows are there or none: a merge that was stopped can be repeated.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = command_parser("merge", "Join studies that were made apart.", EXAMPLES)
    p.add_argument("folders", type=Path, nargs="+", help="of sweeps or runs")
    p.add_argument("--into", type=Path, required=True, metavar="FOLDER", help="a new folder")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line about what the user can mend."""
    arguments = parser().parse_args(argv)
    target: Path = arguments.into
    try:
        names = merge(arguments.folders, target)
        make_table([target], None, target)
    except (UserError, ValueError, OSError) as error:
        sys.stderr.write(f"fastvmt.merge: {error}\n")
        return 2
    sys.stdout.write(f"{len(names)} rows; written: {target}/rows, {target}/table.{{{','.join(FORMS)}}}\n")
    return 0
