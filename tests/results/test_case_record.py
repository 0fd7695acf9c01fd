"""The record of a case: its committed schema, and reading it back with every type checked."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

import fastvmt.results
from fastvmt.cost.cost import Energy
from fastvmt.files import finite
from fastvmt.results.case_record import VERSION, CaseRecord
from fastvmt.results.schema import decoded, json_schema
from helpers.records import case_record

SCHEMA = json.loads((Path(fastvmt.results.__file__).parent / "case_record.schema.json").read_text())


def plain(record: CaseRecord) -> dict:
    """The record as a file has it."""
    return json.loads(json.dumps(finite(record.to_json()), allow_nan=False))


def test_the_committed_schema_is_the_dataclass() -> None:
    known = {key: value for key, value in SCHEMA.items() if key not in ("$schema", "title", "description")}
    assert known == json_schema(CaseRecord), "write fastvmt/results/case_record.schema.json anew and raise VERSION"
    assert SCHEMA["properties"]["version"] == {"enum": [VERSION]}
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_record_fits_its_schema_and_comes_back() -> None:
    energy = Energy("counter", "", {"guide": 3.0, "decode": None}, 4.0, 0.5)
    cost = replace(case_record("a").cost, energy=energy)
    record = case_record("a/p0/s0", scores={"motion_fidelity": 0.5, "trajectory_cosine": math.nan}, cost=cost)
    content = plain(record)
    jsonschema.validate(content, SCHEMA)
    back = CaseRecord.from_json(content)
    assert back.cost.energy == energy and back.passes == record.passes and back.identity == record.identity
    assert math.isnan(back.scores["trajectory_cosine"])
    assert plain(back) == content


def test_a_finished_run_fits_the_schema(finished_run_record: dict) -> None:
    jsonschema.validate(finished_run_record, SCHEMA)
    assert plain(CaseRecord.from_json(finished_run_record)) == finished_run_record


@pytest.fixture
def finished_run_record(backbone, case, tmp_path) -> dict:
    """``case.json`` of a transfer by the loaded random model, written by the engine."""
    from fastvmt.cost.meters import open_meters
    from fastvmt.engine.case_files import write_case
    from fastvmt.engine.loaded import Loaded, Model
    from fastvmt.engine.plan import make_plan
    from fastvmt.engine.session import Session
    from fastvmt.results.folder import CaseFolder
    from helpers.config import composed

    size = ["backbone.height=48", "backbone.width=48", "guidance.block=1", "sampler.steps=2"]
    cfg = composed(*size, "method=none", "metrics=none", "cache_dir=null")
    loaded = Loaded(make_plan(cfg))
    loaded.model = Model(backbone, open_meters(backbone.device), 0.0)
    session = Session(loaded.plan, loaded)
    write_case(CaseFolder(tmp_path), session, session.transfer_case(case))
    return json.loads((tmp_path / "case.json").read_text())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": "9"}, "frames is '9', not of type integer"),
        ({"frames": True}, "frames is True, not of type integer"),
        ({"scores": {"a": "high"}}, "scores.a is 'high', not a number"),
        ({"size": 48}, "size is 48, not an array"),
        ({"size": [48, None]}, r"size\[1\] is None, not of type integer"),
        ({"passes": {}}, "passes lacks block_backwards, block_forwards, "),
        ({"cost": None}, "cost is None, not an object"),
        ({"version": 0}, f"version is 0, not {VERSION}"),
        ({"colour": 1}, "the content has the unknown colour"),
    ],
)
def test_what_is_no_record_says_where(change: dict, message: str) -> None:
    content = plain(case_record("a")) | change
    with pytest.raises(ValueError, match=message):
        CaseRecord.from_json(content)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, SCHEMA)


@pytest.mark.parametrize("key", ["scores", "seconds", "frames_sha256", "files", "seed"])
def test_a_record_that_was_edited_is_noticed(key: str) -> None:
    content = plain(case_record("a", files={"generated.mp4": "0"}))
    content[key] = content[key] + 1 if key == "seed" else {}
    with pytest.raises(ValueError, match="the record of a is not what was written: its checksum differs"):
        CaseRecord.from_json(content)


def test_types_without_a_form_are_refused() -> None:
    with pytest.raises(TypeError, match="has no form in JSON"):
        json_schema(tuple[int, int])
    assert decoded(list[int] | None, None) is None and decoded(list[int] | None, [1]) == [1]
