"""What ``python -m fastvmt.bundle`` does: write a study into a zip file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fastvmt.errors import UserError
from fastvmt.studies.bundle import bundle
from fastvmt.studies.command_line import command_parser

EXAMPLES = """
example:
  python -m fastvmt.bundle outputs/windows --output windows.zip
  unzip windows.zip && python -m fastvmt.table windows      # the same table.{md,tex,csv,json}

It holds result.json and config.yaml of every finished row, the records of its cases and the tables. output_dir and
cache_dir are left out, of other absolute paths the last name stays; the tables are made from that.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = command_parser("bundle", "Write a study into one file that recomputes its own table.", EXAMPLES)
    p.add_argument("folder", type=Path, help="of a sweep or of a run")
    p.add_argument("--output", type=Path, metavar="ZIP", help="the file (default: the folder's name beside it, .zip)")
    p.add_argument("--videos", action="store_true", help="with videos, pictures and traces of every case")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line about what the user can mend."""
    arguments = parser().parse_args(argv)
    study: Path = arguments.folder
    output = arguments.output or study.resolve().with_name(f"{study.resolve().name}.zip")
    try:
        count = bundle(study, output, videos=arguments.videos)
    except (UserError, ValueError, OSError) as error:
        sys.stderr.write(f"fastvmt.bundle: {error}\n")
        return 2
    sys.stdout.write(f"{count} files; written: {output}\n")
    return 0
