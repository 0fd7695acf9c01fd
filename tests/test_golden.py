"""No number changes: every method's short transfers are those of the version that wrote ``golden/transfers.json``."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastvmt.config import config_folder
from helpers.golden import golden, measure

GOLDEN = golden()
LATENTS, SCORES = 2e-4, 5e-3
"""Largest differences that rounding explains, on processors other than the one that wrote the file: on that one the
latents were bit-equal from run to run. A changed constant of a method's arithmetic moves latents by 1e-3 and more."""


def test_every_method_has_golden_transfers() -> None:
    options = {file.stem for file in (config_folder() / "method").glob("*.yaml")}
    assert {tuple(name.split("/")) for name in GOLDEN} == {
        (option, setting) for option in options for setting in ("demo", "world", "random_wan")
    }


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_transfer_is_the_golden_one(name: str, random_wan: Path) -> None:
    expected = GOLDEN[name]
    found = measure(expected["overrides"], random_wan)
    assert found["case"] == expected["case"]
    assert found["passes"] == expected["passes"]
    if found["latents_sha256"] == expected["latents_sha256"]:
        assert found["frames_sha256"] == expected["frames_sha256"]
    assert found["latents"] == pytest.approx(expected["latents"], abs=LATENTS)
    assert found["norm"] == pytest.approx(expected["norm"], rel=LATENTS)
    assert found["scores"].keys() == expected["scores"].keys()
    for score, value in expected["scores"].items():
        assert found["scores"][score] == (None if value is None else pytest.approx(value, abs=SCORES)), score
