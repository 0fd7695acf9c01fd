"""Logs of JSON lines that several processes write."""

from __future__ import annotations

import fcntl
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastvmt.files import finite

Line = dict[str, Any]
"""A line of a log: older ones have other keys."""


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Append one JSON line. Several processes may, and a line that a kill cut short spoils only itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        end = log.seek(0, os.SEEK_END)
        log.seek(max(0, end - 1))
        start = b"" if log.read(1) in (b"", b"\n") else b"\n"
        log.write(start + json.dumps(finite(row), allow_nan=False).encode() + b"\n")


def read_lines(path: Path) -> list[Line]:
    """The lines of a log, none where there is no file; warns about those that are no JSON."""
    rows = []
    for number, text in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        try:
            rows.append(json.loads(text))
        except json.JSONDecodeError:
            warnings.warn(f"{path.name}, line {number} is cut short: not used", stacklevel=2)
    return rows
