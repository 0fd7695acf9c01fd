"""Weights of trackers, from local files only."""

from __future__ import annotations

from pathlib import Path

from fastvmt.weight_file import WeightFile


def find(path: str | Path | None, need: str) -> WeightFile:
    """The file at ``tracker.weights``; ``need`` says which one that is, its origin, licence and size.

    Raises ``FileNotFoundError`` for a missing file.
    """
    file = None if path is None else Path(path).expanduser()
    if file is None or not file.exists():
        where = "tracker.weights is not set" if file is None else f"tracker.weights={file} does not exist"
        raise FileNotFoundError(f"{where}: it must be a local copy of {need}")
    return WeightFile(file, "tracker.weights", need)
