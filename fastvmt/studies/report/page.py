"""The page of a study: everything that is known of it, gathered and written as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fastvmt.files import replacing
from fastvmt.studies.claims import verdicts
from fastvmt.studies.command import command
from fastvmt.studies.document import caption
from fastvmt.studies.forms import footnotes, one_line, text
from fastvmt.studies.grid import grid_keys, grid_of, no_grid, varying_keys
from fastvmt.studies.published import TABLES
from fastvmt.studies.quantities import RATIO
from fastvmt.studies.report.charts import heat_map, over_key, trade_off
from fastvmt.studies.report.configurations import differing
from fastvmt.studies.report.entries import WORST, case_differences, cell, lines, signed
from fastvmt.studies.report.gallery import gallery, link
from fastvmt.studies.report.posters import Posters
from fastvmt.studies.report.warnings import warnings
from fastvmt.studies.rows import read_rows
from fastvmt.studies.table import StudyTable, parts_of, tabulated
from fastvmt.studies.table_command import FORMS, SHORT, write_table

LINES = 4
"""Charts over one key: the first columns."""


def write_page(folder: Path, columns: Sequence[str] | None = None) -> Path:
    """Write the page of the study in ``folder``, its posters and the table's files; return the page.

    ``columns`` are those that it shows: by default the experiment's, or the usual ones. Raises ``ValueError`` for a
    folder without a finished run, for files that cannot be read, and for unknown columns.
    """
    whole = tabulated(read_rows([folder]))
    whole = replace(whole, spec=replace(whole.spec, score=score_of(whole)))
    shown = narrowed(whole, columns or whole.spec.columns or SHORT, strict=columns is not None)
    write_table(whole, folder)
    place = folder / "report"
    posters = Posters(place / "posters")
    content = contents(whole, shown, folder) | {"gallery": gallery(shown, place, posters)}
    html = environment().get_template("page.html.jinja").render(content)
    with replacing(place / "index.html") as partial:
        partial.write_text(html, encoding="utf-8")
    posters.tidy()
    return place / "index.html"


def environment() -> Environment:
    """Make the templates' environment: every value is escaped, none may be missing."""
    loader = PackageLoader("fastvmt.studies.report", "")
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.filters |= {"number": text, "signed": signed, "one_line": one_line}
    return found


def score_of(table: StudyTable) -> str:
    """Give the score that charts and cases show: the specification's, or the first that there is."""
    return table.spec.score if table.spec.score in table.columns else table.columns[0]


def narrowed(table: StudyTable, columns: Sequence[str], *, strict: bool) -> StudyTable:
    """Keep some columns of a table. Raises ``ValueError`` for an unknown one where ``strict``."""
    if strict and (unknown := [name for name in columns if name not in table.columns]):
        raise ValueError(f"--columns {unknown[0]}: the runs have {', '.join(table.columns)}")
    places = [table.columns.index(name) for name in columns if name in table.columns]
    entries = [[entries[i] for i in places] for entries in table.entries]
    return replace(table, columns=[table.columns[i] for i in places], entries=entries)


def contents(whole: StudyTable, shown: StudyTable, folder: Path) -> dict[str, Any]:
    """Gather what the template shows, but for the videos."""
    spec = whole.spec
    told = caption(whole)
    differences = case_differences(whole, spec.score)
    return {
        "title": spec.question or " × ".join(varying_keys(whole)) or folder.resolve().name,
        "question": spec.question,
        "command": command(whole),
        "facts": told[bool(spec.question) :],
        "warnings": warnings(shown, folder),
        "claims": verdicts(whole),
        "columns": shown.columns,
        "more_columns": len(whole.columns) - len(shown.columns),
        "lines": lines(shown),
        "footnotes": footnotes(shown.absent),
        "parts": parts(whole),
        "published": published(whole),
        "charts": charts(shown),
        "score": spec.score,
        "base": whole.names[whole.base],
        "differences": differences[:WORST],
        "difference_count": len(differences),
        "names": [one_line(name) for name in whole.names],
        "configurations": {"names": list(map(one_line, whole.names)), "keys": differing(whole.rows)},
        "first": whole.base,
        "downloads": [link(folder / f"table.{form}", folder / "report") for form in FORMS],
    }


def parts(table: StudyTable) -> list[dict[str, Any]]:
    """Give the scores of parts of the cases, every mean with its n."""
    return [
        {
            "name": part.name,
            "columns": part.columns,
            "lines": [
                (name, [cell(entry, 0) for entry in entries])
                for name, entries in zip(table.names, part.entries, strict=True)
            ],
        }
        for part in parts_of(table)
    ]


def published(table: StudyTable) -> dict[str, Any] | None:
    """Give the numbers of the paper that the specification names."""
    found = TABLES.get(table.spec.published or "")
    if found is None:
        return None
    columns = list(dict.fromkeys(name for row in found.rows.values() for name in row))
    return asdict(found) | {"columns": columns}


def charts(table: StudyTable) -> list[Markup]:
    """Draw what the table's rows allow: the trade-off, and the swept keys, if they are one or two."""
    found = [trade_off(table)]
    keys = varying_keys(table)
    grid = grid_keys(table)
    if grid and not no_grid(table):
        found += [heat_map(grid_of(table, grid, name)) for name in dict.fromkeys((table.spec.score, RATIO))]
    elif len(keys) == 1:
        found += [over_key(table, keys[0], name) for name in table.columns[:LINES]]
    return [chart for chart in found if chart is not None]
