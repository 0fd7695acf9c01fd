"""``python -m fastvmt.rescore``: new scores of a study's videos, from their kept pixels. No diffusion model loads."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Container, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from fastvmt.config import Rerun
from fastvmt.engine.again import cases_of, check_cases, joined, own_runs, recomposed, with_kept_also
from fastvmt.engine.loaded import Shelf
from fastvmt.engine.module import run_result
from fastvmt.engine.plan import make_plan
from fastvmt.engine.quiet import quiet_libraries
from fastvmt.engine.recall import found_before, not_kept
from fastvmt.engine.session import Session
from fastvmt.engine.standing import Standing
from fastvmt.errors import UserError
from fastvmt.files import write_json
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.folder import RunFolder
from fastvmt.studies.command_line import command_parser
from fastvmt.studies.rows import root, runs_of
from fastvmt.studies.table_command import FORMS, make_table, short_table

EXAMPLES = """
examples:
  python -m fastvmt.rescore outputs/windows "metrics.also=[temporal_flickering]"
  python -m fastvmt.rescore outputs/windows tracker=lk

The words are those of run.py for metrics and tracker. Pixels come from cache_dir. Nothing is generated: a case without
kept pixels is refused by name before anything is written. New columns join the study's table.
"""
SCORING = ("metrics", "tracker", "cache_dir", "device", "threads")
"""Roots of the words that it takes."""
KEPT = ("row", "gpu_at_start", "idle_power_w", "load_seconds", "backbone")
"""Parts of ``result.json`` that are about the making of the videos."""


def rescore(study: Path, words: Sequence[str]) -> list[str]:
    """Score every finished row of a study under more ``words``; returns the columns that are new.

    Raises :class:`UserError` for what the user can mend, and ``ValueError`` for files that cannot be read.
    """
    if others := [word for word in words if root(word) not in SCORING]:
        raise UserError(f"{others[0]} is not for rescoring, whose words are of {', '.join(SCORING)}")
    runs = own_runs(runs_of(study))
    if not runs:
        raise UserError(f"{study} holds no finished run: no result.json there, in rows/ or in a folder below it")
    shelf = Shelf()
    told = [with_kept_also(words, run.content()["config"]) for run in runs]
    configs = [scoring_only(recomposed(run, own)) for run, own in zip(runs, told, strict=True)]
    with quiet_libraries():
        for cfg, run in zip(configs, runs, strict=True):
            check_kept(open_scores(cfg, shelf), run)
        rows = zip(configs, runs, told, strict=True)
        new = [name for cfg, run, own in rows for name in rescore_row(open_scores(cfg, shelf), run, own)]
    return list(dict.fromkeys(new))


def scoring_only(cfg: DictConfig) -> DictConfig:
    """Take back what a run was told about making cases again: rescoring takes those that are there."""
    cfg.rerun = Rerun.missing
    cfg.overwrite = False
    return cfg


def open_scores(cfg: DictConfig, shelf: Shelf) -> Session:
    """Open a session that has the scores loaded and no model."""
    plan = make_plan(cfg)
    Standing.of(plan).check()
    return Session(plan, shelf.take(plan))


def check_kept(session: Session, run: RunFolder) -> None:
    """Raise :class:`UserError` for a case that the row's words do not make, or that would have to be generated."""
    check_cases(session.plan.cases, run)
    if (case := not_kept(session, cases_of(session.plan.cases, run), run)) is not None:
        refuse(session, run, case.id)


def refuse(session: Session, run: RunFolder, case_id: str) -> None:
    """Raise the error about a case without pixels."""
    where = f"cache_dir={session.plan.cfg.cache_dir}"
    told = f"its pixels are not in {where}; rescoring generates nothing, run.py with the same words does"
    raise UserError(f"{run.path.name}: case {case_id}: {told}")


def rescore_row(session: Session, run: RunFolder, words: Sequence[str]) -> list[str]:
    """Write the records, ``config.yaml`` and ``result.json`` of a row with its new scores; returns the new columns.

    They join the columns of its table, where that names any.
    """
    old = run.content()
    before = {name for record in run.records() for name in record.scores}
    records: list[CaseRecord] = []
    for case in cases_of(session.plan.cases, run):
        record = found_before(session, case, run.case(case.id))
        if record is None:
            refuse(session, run, case.id)
        else:
            records.append(record)
    cfg = session.plan.cfg
    new = columns_beside(records, before)
    listed = list(old["config"]["table"]["columns"])
    cfg.table.columns = [*listed, *(name for name in new if name not in listed)] if listed else []
    OmegaConf.save(cfg, run.config, resolve=True)
    content = run_result(session, sorted(records, key=lambda record: record.id))
    overrides = joined([str(word) for word in old["overrides"]], words)
    write_json(run.result, content | {key: old[key] for key in KEPT if key in old} | {"overrides": overrides})
    return new


def columns_beside(records: Sequence[CaseRecord], before: Container[str]) -> list[str]:
    """Name the scores that some record has and that were not there before."""
    found = {name: None for record in records for name, value in record.scores.items() if not math.isnan(value)}
    return [name for name in found if name not in before]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = command_parser("rescore", "Compute new scores of a study's videos, without the diffusion model.", EXAMPLES)
    p.add_argument("folder", type=Path, help="of a sweep or of a run")
    p.add_argument("words", nargs="+", metavar="key=value", help="as for run.py: metrics.also=[..], tracker=lk")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line about what the user can mend."""
    arguments = parser().parse_args(argv)
    study: Path = arguments.folder
    try:
        new = rescore(study, arguments.words)
        make_table([study], None, study)
        sys.stdout.write(f"{short_table(study, new)}\nwritten: {study}/table.{{{','.join(FORMS)}}}\n")
    except (UserError, ValueError, OSError) as error:
        sys.stderr.write(f"fastvmt.rescore: {error}\n")
        return 2
    return 0
