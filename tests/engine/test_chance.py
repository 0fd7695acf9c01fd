"""The chance level of motion fidelity: videos against references that they do not follow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from fastvmt.data.video import write_video
from fastvmt.engine.cases import make_cases
from fastvmt.engine.chance import chance_level, others
from fastvmt.engine.plan import read_layout
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.folder import RunFolder
from fastvmt.results.provenance import frames_sha256
from fastvmt.score import score_motion
from fastvmt.studies.rows import read_rows
from fastvmt.studies.table import Chance
from fastvmt.studies.table_command import main, make_table
from fastvmt.trackers.dis import DisTracker
from fastvmt.types import TransferCase
from helpers.config import composed
from helpers.records import case_record
from helpers.studies import write_run


def written(folder: Path, count: int) -> tuple[Path, list[TransferCase], list[CaseRecord]]:
    """A run on the small world whose videos are the references themselves."""
    cfg = composed("benchmark=world", f"benchmark.cases={count}", "cache_dir=null")
    config: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    cases = list(make_cases(cfg, read_layout(cfg.backbone)))
    records = []
    for case in cases:
        place = RunFolder(folder).case(case.id)
        place.path.mkdir(parents=True)
        write_video(place.lossless, case.reference, lossless=True)
        pixels = frames_sha256(case.reference)
        records.append(case_record(case.id, frames_sha256={"generated": pixels, "reference": pixels}))
    write_run(folder, [], records, **config)
    return folder, cases, records


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TransferCase], list[CaseRecord]]:
    """Seven references, a case each. Read only."""
    return written(tmp_path_factory.mktemp("world") / "run", 7)


def test_the_chance_level_is_the_mean_over_pairs_that_do_not_belong_together(world) -> None:
    folder, cases, _ = world
    found = chance_level(read_rows([folder])[0])
    clips = [case.reference for case in cases]
    pairs = [score_motion(a, b, DisTracker()) for a in clips for b in clips if a is not b]
    assert found.fidelity == pytest.approx(np.mean([pair.fidelity for pair in pairs]), abs=1e-6)
    assert found.dynamic == pytest.approx(np.nanmean([pair.dynamic for pair in pairs]), abs=1e-6)
    assert (found.pairs, found.references) == (42, 7) and 0 < found.fidelity < 0.8


def test_videos_that_are_not_what_was_scored_do_not_count(world) -> None:
    folder, _, records = world
    row = read_rows([folder])[0]
    other = replace(records[0], frames_sha256={"generated": "another", "reference": "another"})
    assert chance_level(replace(row, records=(other, *records[1:]))).references == 6
    with pytest.raises(ValueError, match="--chance needs videos of at least 6 references in exact pixels, .* has 5: "):
        chance_level(replace(row, records=tuple(records[:5])))


def test_others_are_spread_and_never_the_own_one() -> None:
    names = list("abcdefghijklm")
    assert list(others(names, "a")) == list("bdfhjl") and list(others(names, "m")) == list("acegik")
    assert list(others(["a", "b", "c"], "b")) == ["c", "a"] and list(others(names, "z")) == []


def test_the_table_tells_it_when_asked_and_marks_what_is_not_above(
    world, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _, records = world
    below = [
        replace(record, scores=record.scores | {"motion_fidelity": 0.4, "motion_fidelity_dynamic": 0.3})
        for record in records
    ]
    config = json.loads((folder / "result.json").read_text())["config"]
    write_run(tmp_path / "below", ["skip.delta=1"], below, **config)
    levels = {folder: Chance(0.45, 0.3, 42, 7), tmp_path / "below": Chance(0.4, 0.2, 40, 7)}
    folders, columns = list(levels), ["motion_fidelity", "motion_fidelity_dynamic"]
    told = make_table(folders, columns, tmp_path, chance=lambda row: levels[row.folder]).replace("\\", "")
    first, second = (row["row"] for row in json.loads((tmp_path / "table.json").read_text())["rows"])
    words = f"(means over up to 42 pairs, 7 references): {first} 0.450, 0.300; {second} 0.400, 0.200."
    assert words in told and f"marked ?, not above the row's chance level in 1 of 2 rows: {second}" in told
    assert told.count("0.400?") == 1 and told.count("?") == 2
    assert r"0.400?" in (tmp_path / "table.tex").read_text()
    output = ["--output", str(tmp_path), "--columns", "motion_fidelity"]
    assert main([str(folder), *output], chance=lambda row: pytest.fail("not asked for")) == 0
    assert main([str(folder), *output, "--chance"], chance=lambda row: levels[folder]) == 0
    assert "0.450, 0.300." in capsys.readouterr().out
