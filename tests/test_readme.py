"""What the README says of results is what the results say."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("section", ["Pure noise", "Strength 0.75"])
def test_the_readme_shows_the_committed_comparison(section: str) -> None:
    text = (ROOT / "experiments" / "results" / "comparison.md").read_text(encoding="utf-8")
    rows = text.split(f"## {section}")[1].split("\n| method |")[1].split("\n\n")[0].splitlines()
    assert len(rows) > 4 and rows[0].startswith(" trajectory cosine | motion fidelity |")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"| method |{rows[0]}" in readme
    assert [row for row in rows[1:] if row not in readme] == []
