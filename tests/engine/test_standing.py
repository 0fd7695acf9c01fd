"""A finished folder is kept: other settings, cases, weights and judges are refused in one line, the same go on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fastvmt.engine.identity import config_hash
from fastvmt.engine.plan import make_plan
from fastvmt.engine.run import run
from fastvmt.engine.standing import Standing
from fastvmt.errors import UserError
from fastvmt.files import write_json
from fastvmt.results.case_record import VERSION, CaseRecord
from fastvmt.results.folder import RunFolder
from helpers.config import composed

REFUSED = r"holds 1 finished case made otherwise: .*{}.*\. Set another output_dir, or overwrite=true to replace them"


@pytest.fixture(scope="module")
def overrides(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A finished run without scores or pictures of anything else."""
    words = [*small, f"output_dir={tmp_path_factory.mktemp('kept')}", "metrics=none", "logger=none"]
    run(composed(*words))
    return words


def folder_of(overrides: list[str]) -> RunFolder:
    return RunFolder(Path(composed(*overrides).output_dir))


def check(*overrides: str) -> None:
    Standing.of(make_plan(composed(*overrides))).check()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["skip.delta=1"], r"skip\.delta=1 \(there 2\)"),
        (["seed=1"], r"seed=1 \(there 0\)"),
        (["guidance.rope=true"], r"guidance\.rope=true \(there false\)"),
        (["method=none"], r"method\._target_=fastvmt\.methods\.none\.NoTransfer .* and \d+ more"),
    ],
)
def test_other_settings_are_refused_before_weights_load(overrides: list[str], change: list[str], told: str) -> None:
    with pytest.raises(UserError, match=REFUSED.format(told)) as refused:
        check(*overrides, *change)
    assert "\n" not in str(refused.value)
    check(*overrides, *change, "overwrite=true")
    check(*overrides, *change, "output_dir=elsewhere")


@pytest.mark.parametrize(
    "change",
    [
        "benchmark.cases=2",
        "metrics=fast",
        "tracker=lk",
        "threads=1",
        "benchmark.seed=18",
        "lossless=true",
        "device=auto",
        "logger.mode=disabled",
        "cache_dir=x",
    ],
)
def test_what_changes_no_case_is_no_other_setting(overrides: list[str], change: str) -> None:
    check(*overrides, change)


def test_a_model_is_what_it_holds_and_not_where_it_lies(overrides: list[str], random_wan: Path, tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(random_wan)
    moved = [*overrides, f"backbone.path={tmp_path / 'model'}"]
    check(*moved)
    assert config_hash(composed(*moved)) == config_hash(composed(*overrides))


def test_another_arithmetic_or_weights_are_refused(overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as other:
        other.setattr("fastvmt.engine.standing.ALGORITHM", 99)
        with pytest.raises(UserError, match=REFUSED.format(r"version 99 of the program's arithmetic \(there \d+\)")):
            check(*overrides)
    monkeypatch.setattr("fastvmt.backbones.wan.WanBackbone.fingerprint_of", lambda path: "0" * 64)
    with pytest.raises(UserError, match=REFUSED.format("backbone.path with weights 000000000000")):
        check(*overrides)


def rewritten(folder: RunFolder, **changes: object) -> CaseRecord:
    """Change the folder's one record, as another program would have written it."""
    (record,) = folder.finished()
    write_json(folder.case(record.id).record, replace(record, **changes).to_json())
    return record


def test_other_judges_and_scores_are_computed_not_refused(overrides: list[str]) -> None:
    folder = folder_of(overrides)
    record = rewritten(folder, judges={"trajectory": "0"}, score_versions={"trajectory": 0})
    try:
        check(*overrides)
    finally:
        write_json(folder.case(record.id).record, record.to_json())


def test_records_of_other_versions_of_the_program_are_refused(overrides: list[str]) -> None:
    folder = folder_of(overrides)
    (record,) = folder.finished()
    file = folder.case(record.id).record
    file.write_text(json.dumps({**record.to_json(), "version": 1}))
    try:
        with pytest.raises(
            UserError, match=REFUSED.format(rf"case\.json is of version 1, this program writes {VERSION}")
        ):
            check(*overrides)
    finally:
        write_json(file, record.to_json())


@pytest.mark.parametrize("content", ["", "a: [", "- 1"])
def test_settings_that_cannot_be_read_are_still_refused(overrides: list[str], content: str) -> None:
    file = folder_of(overrides).config
    before = file.read_text()
    file.write_text(content)
    try:
        with pytest.raises(UserError, match="made otherwise"):
            check(*overrides, "skip.delta=1")
        check(*overrides)
    finally:
        file.write_text(before)


@pytest.mark.parametrize("name", ["result.json", "config.yaml", "cases"])
def test_what_is_in_the_way_is_named(small: list[str], tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=rf"output_dir=.*{name} is in the way, it is no plain file; remove it"):
        check(*small, f"output_dir={tmp_path}")


def test_more_cases_of_the_same_settings_join(overrides: list[str]) -> None:
    folder = folder_of(overrides)
    (first,) = folder.finished()
    before = folder.case(first.id).record.read_bytes()
    run(composed(*overrides, "benchmark.cases=2"))
    assert first.id in {record.id for record in folder.records()} and len(folder.records()) == 2
    assert folder.case(first.id).record.read_bytes() == before


def test_another_secret_at_the_same_place_is_another_mark(overrides: list[str], tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    words = [*overrides, f"provenance.watermark={secret}"]
    hashes = []
    for content in ("the first one", "another one", "another one"):
        secret.write_text(content)
        hashes.append(config_hash(composed(*words)))
    assert hashes[0] != hashes[1] == hashes[2]
