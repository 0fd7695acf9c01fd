"""What the tables share: running a row, what makes two rows comparable, logs of JSON lines."""

from __future__ import annotations

import fcntl
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fastvmt.compose import composed
from fastvmt.construct import construct
from fastvmt.engine.run import run
from fastvmt.results.record import Record, config_hash, finite, score_column, slug
from fastvmt.results.statistics import compare

RESULTS = Path(__file__).parent / "results"
DIGITS = 12
"""Of the hashes in logs."""
READ_BY_METHOD = ("window", "skip", "guidance")
"""Groups that reach a run through the method's node alone."""


def run_row(name: str, overrides: Sequence[str], folder: Path, cases: int, benchmark: str = "world") -> list[Record]:
    """Records of one row, one per case of a benchmark; finished cases are kept."""
    out = folder / slug(name)
    run(
        composed([f"benchmark={benchmark}", f"benchmark.cases={cases}", f"output_dir={out}", "logger=none", *overrides])
    )
    records: list[Record] = json.loads((out / "result.json").read_text())["cases"]
    return records


def weights_hash(cfg: DictConfig) -> str:
    """The first digits of the backbone's hash."""
    fingerprint: str = construct(cfg.backbone, "backbone").fingerprint
    return fingerprint[:DIGITS]


def settings_hash(cfg: DictConfig, but: Sequence[str] = ("benchmark", "seed")) -> str:
    """Hash of everything that changes results, by default but for the cases and their seeds.

    The method's own node holds what it reads of the numbers' groups, which are left out: a new default of
    FastVMT's makes no other method's line old.
    """
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    kept = {key: value for key, value in resolved.items() if key not in (*READ_BY_METHOD, *but)}
    return config_hash(OmegaConf.create(kept))[:DIGITS]


def difference(records: list[Record], base: list[Record], score: str) -> tuple[float, float, float, int]:
    """Mean of paired differences to ``base``, its 95 % interval over references, and the number of cases."""
    result = compare(score_column(records, score), score_column(base, score))
    return result.mean, result.low, result.high, result.n


@contextmanager
def locked(file: Path, wait: bool = True) -> Iterator[bool]:
    """Whether this process holds ``file`` alone among all; without ``wait`` False at once while another does.

    A process that ends in any way lets it go.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            mine = True
        except BlockingIOError:
            mine = False
        yield mine


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Append one JSON line. Several processes may, and a line that a kill cut short spoils only itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        end = log.seek(0, os.SEEK_END)
        log.seek(max(0, end - 1))
        start = b"" if log.read(1) in (b"", b"\n") else b"\n"
        log.write(start + json.dumps(finite(dict(row)), allow_nan=False).encode() + b"\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, none where there is no file; warns about those that are no JSON."""
    rows = []
    for number, text in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        try:
            rows.append(json.loads(text))
        except json.JSONDecodeError:
            warnings.warn(f"{path.name}, line {number} is cut short: not used", stacklevel=2)
    return rows
