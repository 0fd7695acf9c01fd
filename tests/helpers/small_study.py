"""A study on the random model, as a sweep leaves it: two rows of two cases, with their cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastvmt import compose
from fastvmt.engine.loaded import Shelf
from fastvmt.engine.run import run
from fastvmt.files import read_json, write_json

ROWS = {"method=fastvmt": "fastvmt", "method=none": "none"}


def write_study(folder: Path, small: Sequence[str], *words: str) -> Path:
    """Run the rows into ``folder``, their cells into ``cache`` below it; returns the folder."""
    shelf = Shelf()
    for job, word in enumerate(ROWS):
        row = folder / "rows" / word
        own = [*small, "logger=none", "metrics=none", "benchmark=world", "benchmark.cases=2", word, *words]
        own[own.index("cache_dir=null")] = f"cache_dir={folder / 'cache'}"
        run(compose.composed(own, {"output_dir": str(row)}), shelf)
        told = {"overrides": own, "row": {"values": {"method": ROWS[word]}, "job": job}}  # by the command line
        write_json(row / "result.json", read_json(row / "result.json") | told)
    return folder
