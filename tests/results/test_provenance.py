"""Every score says what it is, in its record and in the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fastvmt.score.definitions import DEFINITIONS
from fastvmt.score.scorers import BUILDERS, COLUMNS

ROOT = Path(__file__).parents[2]


def test_every_score_has_a_definition() -> None:
    assert set(DEFINITIONS) == set(BUILDERS)
    for entry in DEFINITIONS.values():
        assert entry.definition and entry.source and entry.limits and entry.version >= 1
        assert re.search(r"\d", entry.range)


@pytest.mark.parametrize("preset", ["default", "vbench"])
def test_the_readme_names_every_column(preset: str) -> None:
    table = re.search(r"\| score \| means .*?\n\n", (ROOT / "README.md").read_text(), re.DOTALL)
    assert table
    named = {word for line in table[0].strip().splitlines() for word in re.findall(r"`([^`]+)`", line.split("|")[1])}
    config = OmegaConf.load(ROOT / "conf" / "metrics" / f"{preset}.yaml")
    columns = {column for name in config.names for column in COLUMNS[name]}
    assert not columns - named
