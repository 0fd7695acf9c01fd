"""What an offline run of Weights & Biases holds: its file is a LevelDB log of protobuf records."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32768, 7
"""Bytes of a block, and of a chunk's header: checksum 4, length 2, kind 1 (whole, first, middle, last)."""
PATIENCE = 20
"""Seconds that a run's end is waited for."""


def records(file: Path) -> Iterator[Record]:
    """The records of a ``.wandb`` file, in order."""
    data, at, whole = file.read_bytes(), HEADER, b""  # the file starts with a header of seven bytes, too
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:  # the rest of a block is padding
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):
            yield Record.FromString(whole)
            whole = b""


def contents(folder: Path) -> dict[str, Any]:
    """Of the only run below ``folder``: run, config, every logged history row, summary, axes and exit code.

    The service of W&B may write a run's end after the run has been told that it is over.
    """
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    deadline = time.monotonic() + PATIENCE
    while (found := read(file))["exit_code"] is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def read(file: Path) -> dict[str, Any]:
    """What a run's file holds at this moment."""
    run: dict[str, Any] = {"config": {}, "history": [], "summary": {}, "axes": {}, "exit_code": None}
    for record in records(file):
        if record.HasField("run"):
            run |= {"project": record.run.project, "group": record.run.run_group, "name": record.run.display_name}
            run |= {"id": record.run.run_id, "job_type": record.run.job_type, "tags": list(record.run.tags)}
            run["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif record.HasField("history"):
            items = record.history.item
            run["history"].append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
        elif record.HasField("summary"):
            items = record.summary.update
            run["summary"] |= {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}
        elif record.HasField("metric"):
            run["axes"][record.metric.name or record.metric.glob_name] = record.metric.step_metric
        elif record.HasField("exit"):
            run["exit_code"] = record.exit.exit_code
    return run
