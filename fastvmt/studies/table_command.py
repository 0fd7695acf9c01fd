"""What ``python -m fastvmt.table`` does: read the runs of studies, write their table in four forms."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fastvmt.files import write_json
from fastvmt.results.tables import with_coverage
from fastvmt.studies.claims import verdicts
from fastvmt.studies.command_line import command_parser
from fastvmt.studies.document import (
    claims_markdown,
    cut_short,
    grid_markdown,
    left_out,
    table_csv,
    table_json,
    table_latex,
    table_markdown,
)
from fastvmt.studies.forms import markdown
from fastvmt.studies.grid import check_grid, grid_keys, grid_of_spec, no_grid
from fastvmt.studies.quantities import known_columns
from fastvmt.studies.rows import Row, read_rows, unfinished
from fastvmt.studies.table import Chance, Spec, StudyTable, spec_of, tabulated, with_chance

FORMS = ("md", "tex", "csv", "json")
SHORT = (
    "motion_fidelity",
    "coverage",
    "trajectory_cosine",
    "text_similarity",
    "temporal_consistency",
    "gradients",
    "loop_ratio",
    "loop_seconds",
)
"""Columns at the end of a sweep."""
EXAMPLES = """
examples:
  python run.py -m window.l=3,5,7 skip.delta=1,2,3 benchmark=world output_dir=outputs/windows
  python -m fastvmt.table outputs/windows                     # prints the table, writes table.{md,tex,csv,json}
  python -m fastvmt.table outputs/windows --grid window.l skip.delta --score motion_fidelity
  python -m fastvmt.table outputs/windows --chance            # what unrelated clips score, and marks
  python -m fastvmt.table runs/a runs/b --columns motion_fidelity text_similarity gradients

A row is a run, named by what its sweep sweeps or by the overrides in which the rows differ. Bold: the paired difference
to the base row, the first unless the experiment names one, is significant over references. Wall seconds of a machine
that others used at the same time are left out; the loop's ratio is of CPU seconds.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = command_parser("table", "Make a table of finished runs.", EXAMPLES)
    p.add_argument("folders", type=Path, nargs="+", help="of a sweep or of runs")
    p.add_argument("--columns", nargs="+", metavar="NAME", help="scores and costs (default: the experiment's, or all)")
    p.add_argument("--grid", nargs=2, metavar="KEY", help="two swept keys: rows and columns of a table of one score")
    p.add_argument("--score", help="that of the grid (default: motion_fidelity)")
    p.add_argument("--cases", nargs="+", metavar="WORD", help="only cases whose id has one of these words, as camera-")
    p.add_argument("--chance", action="store_true", help="measure motion fidelity to references of other cases too")
    p.add_argument("--format", default=",".join(FORMS), help="forms to write, by commas (default: %(default)s)")
    p.add_argument("--output", type=Path, help="where table.{md,tex,csv,json} go (default: the first folder)")
    return p


def make_table(
    folders: Sequence[Path],
    columns: Sequence[str] | None,
    output: Path,
    *,
    grid: Sequence[str] | None = None,
    score: str | None = None,
    forms: Sequence[str] = FORMS,
    cases: Sequence[str] = (),
    chance: Callable[[Row], Chance] | None = None,
) -> str:
    """Write the table of runs and return it in Markdown. Raises ``ValueError`` for what is not there.

    With ``cases`` it is of cases whose ids have one of these words. ``chance`` measures the chance level of motion
    fidelity of a row; clips of other systems have none.
    """
    table, narrow = made_tables(folders, columns, grid=grid, score=score, cases=cases, chance=chance)
    return write_table(table, output, forms, narrow)


def made_tables(
    folders: Sequence[Path],
    columns: Sequence[str] | None,
    *,
    grid: Sequence[str] | None = None,
    score: str | None = None,
    cases: Sequence[str] = (),
    chance: Callable[[Row], Chance] | None = None,
) -> tuple[StudyTable, StudyTable]:
    """Give the table of runs, and the narrow one for LaTeX. Arguments and errors are those of :func:`make_table`."""
    rows = [with_cases(row, cases) for row in read_rows(folders)]
    spec = replace(with_grid(spec_of(rows), grid, score), cases=cases)
    table = tabulated(rows, columns, spec)
    narrow = table if columns or spec.columns else tabulated(rows, None, usual(rows, spec))
    if grid or score:  # asked for by name: what cannot be is an error, no footnote
        if not (keys := grid_keys(table)):
            raise ValueError(f"--score {score}: it is of a grid, and the runs have none: name --grid KEY KEY")
        check_grid(table, keys, spec.score)
    if chance is not None:
        levels = {i: chance(row) for i, row in enumerate(rows) if not row.name}
        table, narrow = with_chance(table, levels), with_chance(narrow, levels)
    return table, narrow


def write_table(table: StudyTable, output: Path, forms: Sequence[str] = FORMS, narrow: StudyTable | None = None) -> str:
    """Write the files of a table into the folder ``output`` and return it in Markdown.

    ``narrow`` is what LaTeX gets in its place, since a page of print has no room for all columns.
    """
    arranged = grid_of_spec(table)
    written = table_markdown(table, arranged)
    output.mkdir(parents=True, exist_ok=True)
    texts = {"md": written, "tex": table_latex(narrow or table), "csv": table_csv(table)}
    for form in (form for form in texts if form in forms):
        (output / f"table.{form}").write_text(texts[form], encoding="utf-8")
    if "json" in forms:
        write_json(output / "table.json", table_json(table, arranged))
    return written


def usual(rows: Sequence[Row], spec: Spec, also: Sequence[str] = ()) -> Spec:
    """Give the specification its columns, or the usual ones and ``also``, with coverage beside motion fidelity."""
    wanted = with_coverage(dict.fromkeys(spec.columns or (*SHORT, *also), ""))
    known = known_columns([record for row in rows for record in row.records])
    return replace(spec, columns=[name for name in wanted if name in known])


def short_table(folder: Path, also: Sequence[str] = ()) -> str:
    """Give the table of a study in Markdown as a terminal has room for: its columns, or the usual ones and ``also``.

    Coverage stands beside motion fidelity, columns that no case has are only named. It has no caption.
    """
    rows = read_rows([folder])
    table = tabulated(rows, None, usual(rows, spec_of(rows), also))
    parts = [markdown(table.names, table.columns, table.entries).rstrip()]
    if (grid := grid_of_spec(table)) is not None:
        parts.append(grid_markdown(grid))
    if found := verdicts(table):
        parts.append(claims_markdown(found))
    return "\n\n".join([*parts, *table.doubts, *table.untimed, *left_out(table), *no_grid(table), *cut_short(table)])


def with_cases(row: Row, words: Sequence[str]) -> Row:
    """Give a row with the cases alone whose ids have one of ``words``, if there are words.

    Raises ``ValueError`` if none has one.
    """
    if not words:
        return row
    chosen = tuple(record for record in row.records if any(word in record.id for word in words))
    if not chosen:
        raise ValueError(f"--cases {' '.join(words)}: no case of {row.folder}, such as {row.records[0].id}")
    return replace(row, records=chosen)


def with_grid(spec: Spec, grid: Sequence[str] | None, score: str | None) -> Spec:
    """Let the command line's grid and score win over the experiment's."""
    spec = spec if grid is None else replace(spec, grid=tuple(grid))
    return spec if score is None else replace(spec, score=score)


def main(argv: Sequence[str] | None = None, chance: Callable[[Row], Chance] | None = None) -> int:
    """Exit code 0, or 2 with one line about what the user can mend. ``chance`` is what ``--chance`` asks for."""
    arguments = parser().parse_args(argv)
    output = arguments.output or arguments.folders[0]
    forms = arguments.format.split(",")
    try:
        if unknown := [form for form in forms if form not in FORMS]:
            raise ValueError(f"--format {unknown[0]}: it must be of {', '.join(FORMS)}")
        options = {"grid": arguments.grid, "score": arguments.score, "cases": arguments.cases or ()}
        options["chance"] = chance if arguments.chance else None
        table, narrow = made_tables(arguments.folders, arguments.columns, **options)
        sys.stdout.write(table_markdown(table, grid_of_spec(table)))
        try:
            write_table(table, output, forms, narrow)
        except OSError as error:
            raise ValueError(f"--output {output}: it cannot be written to ({error}), name another folder") from error
        sys.stdout.write(f"written: {', '.join(f'{output}/table.{form}' for form in forms)}\n")
        for folder in arguments.folders:
            if names := unfinished(folder):
                sys.stdout.write(f"not finished, and not in the table: {', '.join(names)}\n")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"fastvmt.table: {error}\n")
        return 2
    return 0
