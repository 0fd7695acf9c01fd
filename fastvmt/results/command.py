"""What ``python -m fastvmt.table`` does: read runs, write their table in four forms."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fastvmt.files import write_json
from fastvmt.results.columns import absences
from fastvmt.results.forms import comma_separated, footnotes, latex, literal, markdown, plain
from fastvmt.results.pivot import COSTS, cells, labels, read_rows

EXAMPLES = """
examples:
  python run.py -m window.l=3,5,7 skip.delta=1,2,3 benchmark=world output_dir=outputs/windows
  python -m fastvmt.table outputs/windows                     # prints the table, writes table.{md,tex,csv,json}
  python -m fastvmt.table runs/a runs/b --columns motion_fidelity text_similarity gradients

A row is a run, named by the overrides in which the rows differ. Bold: the 95 % interval of the paired difference to the
first row, over references, excludes 0; from fewer than six references there is none. Seconds are wall seconds: compare
them only if nothing else ran.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m fastvmt.table",
        description="Make a table of finished runs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("folders", type=Path, nargs="+", help="of a sweep or of runs; the first row is compared with")
    p.add_argument("--columns", nargs="+", metavar="NAME", help="scores, gradients, loop_seconds (default: all)")
    p.add_argument("--output", type=Path, help="where table.{md,tex,csv,json} go (default: the first folder)")
    return p


def make_table(folders: Sequence[Path], columns: Sequence[str] | None, output: Path) -> str:
    """Write the table of runs in four forms and return it in Markdown. Raises ``ValueError`` for what is not there."""
    rows = read_rows(folders)
    known = [*dict.fromkeys(name for row in rows for record in row.records for name in record.scores), *COSTS]
    if unknown := [name for name in columns or () if name not in known]:
        raise ValueError(f"--columns {unknown[0]}: the runs have {', '.join(known)}")
    chosen = list(columns or known)
    names = labels(rows)
    body = cells(rows, chosen)
    if columns is None:  # what no run could measure is no column
        told = any(record.diverged is not None for row in rows for record in row.records)
        kept = [i for i, name in enumerate(chosen) if any(line[i].n for line in body) and (told or name != "diverged")]
        chosen = [chosen[i] for i in kept]
        body = [[line[i] for i in kept] for line in body]
    records = [record for row in rows for record in row.records]
    absent = {name: found for name in chosen if (found := absences(records, name))}
    notes = footnotes(absent)
    written = markdown(names, chosen, body) + "".join(f"\n{literal(note)}\n" for note in notes)
    output.mkdir(parents=True, exist_ok=True)
    (output / "table.md").write_text(written, encoding="utf-8")
    commented = "".join(f"% {note}\n" for note in notes)
    (output / "table.tex").write_text(latex(names, chosen, body) + commented, encoding="utf-8")
    (output / "table.csv").write_text(comma_separated(names, chosen, body), encoding="utf-8")
    content = [
        {"row": name, "folder": str(row.folder), "overrides": list(row.overrides)}
        | {"cells": {column: dict(plain(cell)) for column, cell in zip(chosen, line, strict=True)}}
        for name, row, line in zip(names, rows, body, strict=True)
    ]
    write_json(output / "table.json", {"rows": content, "missing": absent})
    return written


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line about what the user can mend."""
    arguments = parser().parse_args(argv)
    output = arguments.output or arguments.folders[0]
    try:
        sys.stdout.write(make_table(arguments.folders, arguments.columns, output))
        sys.stdout.write(f"written: {output}/table.{{md,tex,csv,json}}\n")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"fastvmt.table: {error}\n")
        return 2
    return 0
