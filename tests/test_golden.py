"""No number changes: every method's short transfers are those of the version that wrote ``golden/transfers.json``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastvmt.algorithm import ALGORITHM
from fastvmt.config import config_folder
from helpers import golden as files
from helpers.golden import SETTINGS, add, golden, latents_hash, measure, overrides_of, versions, write

GOLDEN = golden()
LATENTS, SCORES = 2e-4, 5e-3
"""Largest differences that rounding explains, on processors other than the one that wrote the file: on that one the
latents were bit-equal from run to run. A changed constant of a method's arithmetic moves latents by 1e-3 and more."""


def test_every_method_has_golden_transfers() -> None:
    options = {file.stem for file in (config_folder() / "method").glob("*.yaml")}
    assert {tuple(name.split("/")) for name in GOLDEN} == {
        (option, setting) for option in options for setting in SETTINGS
    }, "a new method's rows: PYTHONPATH=tests python -m helpers.golden --add METHOD"


def test_golden_latents_are_those_of_this_version_of_the_arithmetic() -> None:
    known = versions()
    assert max(map(int, known)) == ALGORITHM
    changed = [name for name, row in GOLDEN.items() if known[str(ALGORITHM)].get(name) != latents_hash(row)]
    assert changed == [], "raise fastvmt.algorithm.ALGORITHM and write the golden files again (helpers/golden.py)"


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The golden file and that of versions, where a test may write them."""
    for name in ("FILE", "VERSIONS"):
        copy = tmp_path / getattr(files, name).name
        copy.write_bytes(getattr(files, name).read_bytes())
        monkeypatch.setattr(files, name, copy)
    return files.FILE, files.VERSIONS


def test_a_new_methods_rows_leave_all_others_as_they_are(
    copies: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, random_wan: Path
) -> None:
    file, known = copies
    known.write_text(json.dumps({"0": {"none/demo": "of an older version"}} | versions(), indent=1) + "\n")
    before = [each.read_bytes() for each in copies]
    file.write_text(json.dumps({name: row for name, row in GOLDEN.items() if not name.startswith("none/")}))
    hashes = {name: value for name, value in versions()[str(ALGORITHM)].items() if not name.startswith("none/")}
    known.write_text(json.dumps(versions() | {str(ALGORITHM): hashes}))
    monkeypatch.setattr(files, "measure", lambda words, _: next(r for r in GOLDEN.values() if r["overrides"] == words))
    add("none", [], random_wan)
    assert [each.read_bytes() for each in copies] == before
    with pytest.raises(ValueError, match="none/demo is there"):
        add("none", [], random_wan)
    monkeypatch.setattr(files, "ALGORITHM", ALGORITHM + 1)
    with pytest.raises(ValueError, match="no rows of this version"):
        add("none", [], random_wan)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_new_methods_overrides_are_those_of_the_rows_that_are_there(name: str) -> None:
    method, setting = name.split("/")
    needed = {
        "sdedit": ["sampler.strength=0.7"],
        "motion_inversion": ["method.blocks=[1,2]"][: setting == "random_wan"],
    }
    assert overrides_of(method, setting, needed.get(method, [])) == GOLDEN[name]["overrides"]


def test_golden_files_are_not_written_anew_without_a_new_version(
    copies: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, row = next(iter(GOLDEN.items()))
    moved = GOLDEN | {name: row | {"norm": row["norm"] + 1}}
    with pytest.raises(ValueError, match=f"latents of {name} moved: raise"):
        write(moved)
    assert golden() == GOLDEN
    monkeypatch.setattr(files, "ALGORITHM", ALGORITHM + 1)
    write(moved)
    assert golden() == moved and versions()[str(ALGORITHM)] != versions()[str(ALGORITHM + 1)]


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
