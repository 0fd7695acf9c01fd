"""What the README and docs/results.md say of results is what the results say; the README is one page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fastvmt.studies.table_command import SHORT

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("experiments/**/README.md"))]


SHOWN = [name for name in SHORT if name != "loop_seconds"]
"""Columns of the README's table, in its order."""


def rows_of(section: str) -> list[str]:
    """The rows of a table of the committed comparison, its head first."""
    text = (ROOT / "experiments" / "results" / "comparison.md").read_text(encoding="utf-8")
    rows = text.split(f"## {section}")[1].split("\n| method |")[1].split("\n\n")[0].splitlines()
    assert len(rows) > 4 and rows[0].startswith(" trajectory cosine | motion fidelity |")
    return [f"| method |{rows[0]}", *rows[1:]]


@pytest.mark.parametrize(
    ("page", "section"),
    [("docs/results.md", "Pure noise"), ("docs/results.md", "Strength 0.75")],
)
def test_a_page_shows_the_committed_comparison(page: str, section: str) -> None:
    shown = (ROOT / page).read_text(encoding="utf-8")
    assert [row for row in rows_of(section) if row not in shown] == []


def cells_of(text: str, head: str) -> list[list[str]]:
    """The cells of the first table of a page whose head begins so, without the head."""
    lines = text[text.index(f"\n{head}") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]


def test_the_readme_shows_the_committed_table_of_methods() -> None:
    """The same means to two digits, the same cells in bold, the same numbers of cases where they are not all."""
    folder = ROOT / "experiments" / "results" / "table_main"
    rows = json.loads((folder / "table.json").read_text())["rows"]
    (known, *made), (_, *shown) = (
        cells_of(text, head)
        for text, head in (
            ((folder / "table.md").read_text(), "| row |"),
            ((ROOT / "README.md").read_text(), "| method |"),
        )
    )
    assert len(shown) == len(rows) == len(made)
    names = dict(zip(("`fastvmt`, shared pass", "`experiment=fast`"), ("shared_pass", "fast"), strict=True))
    for name, *cells in shown:
        row = next(row for row in rows if row["row"] == names.get(name, name.strip("`")))
        written = dict(zip(known, next(each for each in made if each[0] == f"`{row['row']}`"), strict=True))
        for key, cell in zip(SHOWN, cells, strict=True):
            mean, told = row["cells"][key]["mean"], written[key.replace("_", " ")]
            plain = cell.replace("*", "")
            number = f"{mean:.0f}" if key == "gradients" else f"{mean:.2f}"
            n = re.search(r" \(\d+\)", told)
            assert plain == number + (n[0] if n else ""), (name, key)
            assert cell.startswith("**") == told.startswith("**"), (name, key)


def test_the_readme_is_one_page_whose_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"


def test_commands_of_the_documentation_exist() -> None:
    for page in [
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted(ROOT.glob("experiments/**/README.md")),
    ]:
        for module in re.findall(r"python -m ((?:fastvmt|experiments)[\w.]*)", page.read_text(encoding="utf-8")):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), f"{page.name}: {module}"
