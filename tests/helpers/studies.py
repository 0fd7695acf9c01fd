"""Finished runs of a study, as their folders have them."""

from __future__ import annotations

import math
from pathlib import Path

from fastvmt.files import write_json
from fastvmt.results.case_record import VERSION, CaseRecord
from helpers.records import case_record

CONFIG = {
    "backbone": {"name": "tiny-wan"},
    "tracker": {"_target_": "fastvmt.trackers.DisTracker"},
    "metrics": {"clip": {"model": "tiny-clip"}},
}


def write_run(
    folder: Path,
    overrides: list[str],
    records: list[CaseRecord],
    values: dict[str, str] | None = None,
    job: int = 0,
    **config: object,
) -> Path:
    """A finished run."""
    row = None if values is None else {"values": values, "job": job}
    content = {"version": VERSION, "config_hash": "c", "overrides": overrides, "row": row, "config": CONFIG | config}
    write_json(folder / "result.json", content | {"cases": [record.to_json() for record in records]})
    return folder


def scored(values: dict[str, float]) -> list[CaseRecord]:
    """Records of one score, and of one that none has."""
    return [case_record(i, scores={"motion_fidelity": value, "absent": math.nan}) for i, value in values.items()]
