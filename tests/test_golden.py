"""No number changes: every method's short transfers are those of the version that wrote ``golden/transfers.json``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastvmt.algorithm import ALGORITHM
from fastvmt.config import config_folder
from fastvmt.guidance.optimisation import Optimisation
from fastvmt.methods import fastvmt, shared_pass
from fastvmt.motion.switches import Switches
from helpers import golden as files
from helpers.golden import SETTINGS, add, golden, latents_hash, measure, overrides_of, versions, write
from helpers.golden_paths import SWITCHES, paths

GOLDEN = golden()
LATENTS, SCORES = 2e-4, 5e-3
"""Largest differences that rounding explains, on processors other than the one that wrote the file: on that one the
latents were bit-equal from run to run. A changed constant of a method's arithmetic moves latents by 1e-3 and more."""


def test_every_method_has_golden_transfers() -> None:
    options = {file.stem for file in (config_folder() / "method").glob("*.yaml")}
    transfers = {f"{option}/{setting}" for option in options for setting in SETTINGS}
    add_rows = "a new method's rows: PYTHONPATH=tests python -m helpers.golden --add METHOD"
    assert GOLDEN.keys() == transfers | paths().keys(), add_rows


def test_every_switch_and_word_moves_latents() -> None:
    assert SWITCHES.keys() == vars(Switches()).keys()
    assert {name: GOLDEN[name]["overrides"] for name in paths()} == paths()
    names = sorted([*paths(), "fastvmt/random_wan"])
    hashes = [GOLDEN[name]["latents_sha256"] for name in names]
    assert [name for name, known in zip(names, hashes, strict=True) if hashes.count(known) > 1] == []


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
    with pytest.raises(ValueError, match="another method= would win"):
        add("mine", ["method=none"], random_wan)
    monkeypatch.setattr(files, "ALGORITHM", ALGORITHM + 1)
    with pytest.raises(ValueError, match="no rows of this version"):
        add("none", [], random_wan)


@pytest.mark.parametrize("name", sorted(GOLDEN.keys() - paths().keys()))
def test_a_new_methods_overrides_are_those_of_the_rows_that_are_there(name: str) -> None:
    method, setting = name.split("/")
    needed = {
        "sdedit": ["sampler.strength=0.7"],
        "motion_inversion": ["method.blocks=[1,2]"][: setting.startswith("random_wan")],
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


def assert_golden(name: str, random_wan: Path) -> None:
    """Make a transfer and hold it against the golden one."""
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


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_transfer_is_the_golden_one(name: str, random_wan: Path) -> None:
    assert_golden(name, random_wan)


def faster(known: Callable[..., Any]) -> Callable[..., Any]:
    """Learning rates one per cent up."""
    return lambda self: [1.01 * rate for rate in known(self)]


def heavier(known: Callable[..., Any]) -> Callable[..., Any]:
    """Distant pairs of frames weigh a little more."""
    return lambda pairs, sf, alpha, *rest: known(pairs, sf, 0.9 * alpha, *rest)


def further(known: Callable[..., Any]) -> Callable[..., Any]:
    """The shared pass's velocity one per cent up."""

    def changed(*words: Any, **named: Any) -> Any:
        velocity, gradient = known(*words, **named)
        return 1.01 * velocity, gradient

    return changed


@pytest.mark.parametrize(
    ("name", "place", "attribute", "change"),
    [
        ("fastvmt:window_loss", Optimisation, "rates_within_step", faster),
        ("fastvmt:window_loss", fastvmt, "pair_weights", heavier),
        ("fastvmt:shared_pass", shared_pass, "shared_pass", further),
    ],
)
def test_a_changed_constant_is_noticed(
    name: str,
    place: Any,
    attribute: str,
    change: Callable[..., Any],
    random_wan: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place, attribute, change(getattr(place, attribute)))
    with pytest.raises(AssertionError):
        assert_golden(f"{name}/random_wan", random_wan)
