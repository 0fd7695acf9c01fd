"""``python -m fastvmt.retime``: how long a study's rows take, interleaved on one warm model; no video is kept."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from fastvmt.compose import composed
from fastvmt.cost.cost import loop
from fastvmt.engine.again import recomposed
from fastvmt.engine.fit import check_fit
from fastvmt.engine.loaded import Loaded
from fastvmt.engine.plan import make_plan
from fastvmt.engine.quiet import quiet_libraries
from fastvmt.engine.session import Session
from fastvmt.engine.transfer import DivergedCase
from fastvmt.errors import UserError
from fastvmt.files import is_plain, try_writing, write_json
from fastvmt.results.folder import RunFolder
from fastvmt.results.machines import contended
from fastvmt.results.provenance import maker
from fastvmt.results.tables import show
from fastvmt.studies.command_line import command_parser
from fastvmt.studies.rows import labels, read_rows
from fastvmt.studies.timings import Sample, Timing, timings, timings_csv
from fastvmt.terminal import literal_text
from fastvmt.threads import computing_with
from fastvmt.types import TransferCase

EXAMPLES = """
example:
  python -m fastvmt.retime outputs/windows --repeats 3 --cases 2

Every repeat times, case by case, plain sampling and then each row, on a model that all rows have warmed up before.
Seconds are of guidance and denoising: the reference's reading and training are not among them. Samples taken while
others used the machine are marked, and their wall seconds count nowhere. Only timings.csv and timings.json are written.
"""
PLAIN = "method=none"
WRITTEN = ("timings.csv", "timings.json")


@dataclass(frozen=True)
class TimedRow:
    """A row with the plain sampling that it is compared with."""

    name: str
    session: Session
    plain: Session


@dataclass(frozen=True)
class Loop:
    """Seconds of one transfer's loop."""

    seconds: float
    cpu_seconds: float
    contended: bool


def open_rows(study: Path) -> list[TimedRow]:
    """Open the finished rows of a study, without scores; rows that need the same model share it.

    Raises :class:`UserError` for rows that cannot be composed again.
    """
    rows = [row for row in read_rows([study]) if not row.name]
    if not rows:
        raise UserError(f"{study} holds no finished run of this program")
    loaded: list[Loaded] = []
    opened = []
    for name, row in zip(labels(rows), rows, strict=True):
        cfg = with_group(recomposed(RunFolder(row.folder)), "metrics", "none")
        plain = with_group(cfg, "method", "none")
        opened.append(TimedRow(name, open_warm(cfg, loaded), open_warm(plain, loaded)))
    return opened


def with_group(cfg: DictConfig, group: str, option: str) -> DictConfig:
    """Give a configuration with another option of a group, whatever its yaml files set there."""
    changed = cfg.copy()
    OmegaConf.update(changed, group, composed([f"{group}={option}"])[group], merge=False)
    return changed


def open_warm(cfg: DictConfig, loaded: list[Loaded]) -> Session:
    """Open a session on what is loaded, or on what it loads itself and adds."""
    plan = make_plan(cfg)
    fitting = next((each for each in loaded if each.differs(cfg) is None), None)
    if fitting is None:
        check_fit(plan)
        fitting = Loaded(plan)
        fitting.load()
        loaded.append(fitting)
    return Session(plan, fitting)


def shared_cases(rows: Sequence[TimedRow], count: int) -> list[TransferCase]:
    """Give the first cases that all rows have."""
    common = set.intersection(*({case.id for case in row.session.plan.cases} for row in rows))
    found = [case for case in rows[0].session.plan.cases if case.id in common][:count]
    if not found:
        raise UserError("the rows have no case in common, which they could be timed on")
    return found


def timed(session: Session, case: TransferCase) -> Loop:
    """Transfer a case and tell the seconds of its loop; NaN where it diverges."""
    made = session.attempt(case)
    if isinstance(made, DivergedCase):
        return Loop(math.nan, math.nan, contended=False)
    return Loop(loop(made.seconds), loop(made.record.cost.cpu_seconds), contended(made.record))


def samples(rows: Sequence[TimedRow], cases: Sequence[TransferCase], repeats: int) -> Iterator[Sample]:
    """Warm everything up on the first case, then time rows in turn, each right after plain sampling."""
    for row in rows:
        timed(row.plain, cases[0])
        timed(row.session, cases[0])
    for repeat in range(repeats):
        for case in cases:
            for row in rows:
                plain = timed(row.plain, case)
                mine = timed(row.session, case)
                beside = (plain.seconds, plain.cpu_seconds, plain.contended)
                yield Sample(row.name, case.id, repeat, mine.seconds, mine.cpu_seconds, mine.contended, *beside)


def threads_of(session: Session) -> int:
    """Tell with how many threads a session's row is timed."""
    with computing_with(session.plan.cfg.threads):
        return torch.get_num_threads()


def check_place(study: Path) -> None:
    """Raise :class:`UserError` where the timings could not be written when they are taken."""
    for name in WRITTEN:
        if os.path.lexists(study / name) and not is_plain(study / name):
            raise UserError(f"{study / name} is in the way: it is no plain file, remove it")
    try:
        try_writing(study)
    except OSError as error:
        raise UserError(f"{study} cannot be written to ({error.strerror}): time a copy of it") from error


def retime(study: Path, repeats: int, count: int) -> list[Timing]:
    """Time the rows of a study and write ``timings.csv`` and ``timings.json`` there. Raises as :func:`open_rows`."""
    check_place(study)
    with quiet_libraries():
        rows = open_rows(study)
        cases = shared_cases(rows, count)
        taken = list(samples(rows, cases, repeats))
    threads = {row.name: threads_of(row.session) for row in rows}
    on_cpu = rows[0].session.backbone.device.type == "cpu"
    found = timings(taken, maker()["hardware"], threads, on_cpu=on_cpu)
    table, everything = (study / name for name in WRITTEN)
    table.write_text(timings_csv(found), encoding="utf-8")
    content = {"rows": [asdict(timing) for timing in found], "samples": [asdict(sample) for sample in taken]}
    write_json(everything, content | {"repeats": repeats, "plain": PLAIN, "maker": maker()})
    return found


def timings_table(found: Sequence[Timing]) -> Table:
    """One row per row of the study."""
    threads = dict.fromkeys(str(each.threads) for each in found)
    table = Table(title=f"{found[0].hardware}, {' and '.join(threads)} threads")
    if len(threads) > 1:
        table.caption = "seconds of rows with other numbers of threads do not compare; timings.csv has each row's"
    for column in ("row", "loop s", "CPU s", "/ plain", "samples", "contended"):
        table.add_column(column, justify="left" if column == "row" else "right", overflow="fold")
    for each in found:
        counts = (str(each.n), str(each.contended))
        table.add_row(
            literal_text(each.row), show(each.loop_seconds), show(each.loop_cpu_seconds), show(each.ratio), *counts
        )
    return table


def positive(word: str) -> int:
    """Read a count from 1. Raises ``ValueError``."""
    if (number := int(word)) < 1:
        raise ValueError
    return number


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = command_parser("retime", "Time a study's rows, interleaved, with plain sampling beside.", EXAMPLES)
    p.add_argument("folder", type=Path, help="of a sweep or of a run")
    p.add_argument("--repeats", type=positive, default=3, help="of every row and case, from 1 (default: %(default)s)")
    p.add_argument("--cases", type=positive, default=2, metavar="N", help="the first N, from 1 (default: %(default)s)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line about what the user can mend."""
    arguments = parser().parse_args(argv)
    study: Path = arguments.folder
    try:
        found = retime(study, arguments.repeats, arguments.cases)
    except (UserError, ValueError, OSError) as error:
        sys.stderr.write(f"fastvmt.retime: {error}\n")
        return 2
    Console().print(timings_table(found))
    sys.stdout.write(f"written: {study}/timings.csv, {study}/timings.json\n")
    return 0
