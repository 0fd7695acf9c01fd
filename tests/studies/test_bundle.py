"""A study in one file: elsewhere it makes its own table again, byte for byte, and tells no path of this machine."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import yaml

from fastvmt.results.folder import RunFolder
from fastvmt.studies.bundle import portable
from fastvmt.studies.bundle_command import main
from fastvmt.studies.table_command import FORMS, make_table
from helpers.records import case_record
from helpers.studies import write_run

RECORDS = [case_record(f"r{i}/p/s0", scores={"motion_fidelity": 0.1 * i}) for i in range(7)]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two rows whose words and configurations have this machine's paths."""
    folder = tmp_path / "study"
    for job, l in enumerate(("3", "5")):
        words = [f"window.l={l}", f"output_dir={folder}", f"backbone.path={tmp_path}/models/wan", "prompt='a/b on /c'"]
        config = {"output_dir": str(folder), "cache_dir": str(tmp_path), "benchmark": {"path": f"{tmp_path}/clips.csv"}}
        run = write_run(folder / "rows" / f"l={l}", words, RECORDS, {"window.l": l}, job, **config)
        for record in RECORDS:
            RunFolder(run).case(record.id).path.mkdir(parents=True)
            RunFolder(run).case(record.id).generated.write_text(record.id)
    return folder


@pytest.mark.parametrize("words", [[], ["--videos"]])
def test_unzipped_elsewhere_it_makes_the_same_table(study: Path, tmp_path: Path, words: list[str]) -> None:
    assert main([str(study), "--output", str(tmp_path / "out.zip"), *words]) == 0
    with zipfile.ZipFile(tmp_path / "out.zip") as packed:
        packed.extractall(tmp_path / "elsewhere")
    there = tmp_path / "elsewhere" / "study"
    before = {form: (there / f"table.{form}").read_bytes() for form in FORMS}
    make_table([there], None, there)
    assert {form: (there / f"table.{form}").read_bytes() for form in FORMS} == before
    assert bool(list(there.rglob("generated.mp4"))) == bool(words)
    assert len(list(there.glob("rows/*/cases/*/case.json"))) == 14
    for file in (file for file in there.rglob("*") if file.is_file()):
        assert str(tmp_path) not in file.read_text(), file
    config = yaml.safe_load((there / "rows/l=3/config.yaml").read_text())
    assert config["benchmark"] == {"path": "clips.csv"} and "output_dir" not in config and "cache_dir" not in config
    assert RunFolder(there / "rows/l=3").records() == RECORDS


def test_the_same_study_is_the_same_file(study: Path, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        assert main([str(study), "--output", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_of_paths_the_last_name_stays_and_other_words_are_left_alone() -> None:
    assert portable({"a": "/x/y z/w", "b": ["k.l=/x/y", "output_dir=/x", "cos = a / b", "and/or"], "n": 1}) == {
        "a": "w",
        "b": ["k.l=y", "cos = a / b", "and/or"],
        "n": 1,
    }
    assert portable("no file at /x/y/z.pt, see http://a.b/c") == "no file at z.pt, see http://a.b/c"


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("hydra.searchpath=[file:///tmp/x/conf]", "hydra.searchpath=[file://conf]"),
        ("a=[file:///tmp/x/conf,'file:///a b/own conf',pkg://x]", "a=[file://conf,'file://own conf',pkg://x]"),
        ('video="/tmp/a b/my clip.mp4"', 'video="my clip.mp4"'),
        ("video='/tmp/a b/it\\'s.mp4'", "video='it\\'s.mp4'"),
        ("+x={path:/tmp/secret/x, other: '~/a b/c'}", "+x={path:x, other: 'c'}"),
        ("prompt='a dog\\'s and/or http://a.b/c'", "prompt='a dog\\'s and/or http://a.b/c'"),
    ],
)
def test_addresses_and_quoted_paths_tell_the_last_name_alone(word: str, wanted: str) -> None:
    assert portable([word]) == [wanted]


def test_a_folder_without_runs_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "holds no finished run" in capsys.readouterr().err
