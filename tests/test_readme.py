"""What the README and docs/results.md say of results is what the results say; the README is one page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("experiments/**/README.md"))]


def rows_of(section: str) -> list[str]:
    """The rows of a table of the committed comparison, its head first."""
    text = (ROOT / "experiments" / "results" / "comparison.md").read_text(encoding="utf-8")
    rows = text.split(f"## {section}")[1].split("\n| method |")[1].split("\n\n")[0].splitlines()
    assert len(rows) > 4 and rows[0].startswith(" trajectory cosine | motion fidelity |")
    return [f"| method |{rows[0]}", *rows[1:]]


@pytest.mark.parametrize(
    ("page", "section"),
    [("README.md", "Pure noise"), ("docs/results.md", "Pure noise"), ("docs/results.md", "Strength 0.75")],
)
def test_a_page_shows_the_committed_comparison(page: str, section: str) -> None:
    shown = (ROOT / page).read_text(encoding="utf-8")
    assert [row for row in rows_of(section) if row not in shown] == []


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
