"""What ``python -m fastvmt.report`` does: write the page of a study beside its table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fastvmt.studies.command_line import command_parser
from fastvmt.studies.report.page import write_page

EXAMPLES = """
examples:
  python run.py -m window.l=3,5,7 skip.delta=1,2,3 benchmark=world output_dir=outputs/windows
  python -m fastvmt.report outputs/windows               # writes outputs/windows/report/index.html, for a browser
  python -m fastvmt.report outputs/windows --columns motion_fidelity text_similarity gradients

The page is one file that loads nothing from outside. It shows the videos of the study's folder where they are: move or
copy the whole folder.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = command_parser(
        "report", "Write the page of a study: warnings, claims, table, charts, videos on one clock.", EXAMPLES
    )
    p.add_argument("folder", type=Path, help="of a sweep or of a run")
    p.add_argument("--columns", nargs="+", metavar="NAME", help="scores and costs that the page shows")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line about what the user can mend."""
    arguments = parser().parse_args(argv)
    try:
        sys.stdout.write(f"written: {write_page(arguments.folder, arguments.columns)}\n")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"fastvmt.report: {error}\n")
        return 2
    return 0
