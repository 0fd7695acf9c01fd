"""What a sweep does before its first job and after its last: Hydra calls it, whatever launches the jobs.

Before: it ends for claims and searches that cannot be, keeps the names of the rows for ``fastvmt.status``, and tells
rows with the same videos, since nothing that makes them reads what is swept. After: it makes the table of all rows of
the folder that are finished.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fastvmt.compositions import MOST, Compositions, compose_once
from fastvmt.config import objectives
from fastvmt.sweep import REHEARSED, job_values, jobs_of, rehearsed, row_name, rows_of, searching
from fastvmt.terminal import harmless

log = logging.getLogger(__name__)


APART = "plan=true with hydra/launcher=%s: its processes share the machine while they are timed, and nothing sums them"
"""Of a launcher that plans rows elsewhere."""


class Study(Callback):
    """The sweep as a whole."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Warn of rows that can differ in scores and costs alone; end for claims and searches that cannot be."""
        if told := unsearchable(config) or unclaimable(config):
            sys.stderr.write(f"fastvmt: {told}\n")
            sys.exit(2)  # any other error Hydra makes a warning of
        if searching(config.hydra.sweeper):
            note_sweep(config)
            return  # its jobs are not known before
        compositions = compose_once(GlobalHydra.instance().config_loader())
        if not composable(config, compositions):
            return
        note_sweep(config)
        launcher = config.hydra.runtime.choices["hydra/launcher"]
        if config.get("plan") and launcher != "basic":
            log.warning(APART, launcher)
        for names in alike(config, compositions):
            log.warning("rows with the same videos, which are made once: %s", "; ".join(names))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Make the table of the rows that are finished."""
        if not rehearsed(config):
            end_sweep(config.hydra.sweep.dir, directions_of(config.hydra.sweeper))
            tell_earlier(Path(config.hydra.sweep.dir), rows_of(config))


def unsearchable(config: DictConfig) -> str:
    """Say why a search cannot be: no score, no trials, or other directions than objectives; nothing where it can."""
    sweeper = config.hydra.sweeper
    if not searching(sweeper):
        return ""
    for key in REHEARSED:
        if config.get(key):
            return f"{key}=true gives a search no score to go by: leave the sweeper out"
    if not sweeper.n_trials >= 1:
        return f"hydra.sweeper.n_trials={sweeper.n_trials} must be at least 1"
    if not isinstance(config.objective, str | Sequence):
        return ""  # the first job tells
    wanted = len(objectives(config))
    directions = len(directions_of(sweeper)) or 1
    if wanted == directions:
        return ""
    each = f"[{','.join(['maximize'] * wanted)}]" if wanted > 1 else "maximize"
    return (
        f"hydra.sweeper.direction has {directions} and objective {wanted}: give a direction (maximize or minimize) for "
        f"every objective, such as hydra.sweeper.direction={each}"
    )


def unclaimable(config: DictConfig) -> str:
    """Say which claim of the sweep's table cannot be read, and why; nothing where all can."""
    from fastvmt.studies.claims import unreadable  # imports torch

    return unreadable(OmegaConf.select(config, "table.claims") or ())


def composable(config: DictConfig, compositions: Compositions) -> bool:
    """Whether Hydra can compose the jobs; where it cannot, it says so itself."""
    try:
        for job in jobs_of(config)[:MOST]:
            compositions.kept(config, job)
    except (HydraException, OmegaConfBaseException):
        return False
    return True


def note_sweep(config: DictConfig) -> None:
    """Keep which rows a sweep has, for ``fastvmt.status``; none of a search, nothing of what transfers nothing."""
    from fastvmt.studies.progress import note_rows  # imports torch

    if not rehearsed(config):
        note_rows(Path(config.hydra.sweep.dir), rows_of(config))


def directions_of(sweeper: DictConfig) -> list[str]:
    """List the directions of a search with several objectives; nothing of any other sweep."""
    found = sweeper.get("direction")
    several = isinstance(found, Sequence) and not isinstance(found, str)
    return [str(direction) for direction in found] if several else []


def end_sweep(folder: str, directions: Sequence[str]) -> None:
    """Make the table of a sweep's finished rows, and tell a search's trade-offs, or else the rows that failed."""
    last = partial(tell_pareto, directions=directions) if directions else tell_failures  # a search told its own
    tells: list[Callable[[Path], None]] = [tell_table, last]
    for tell in tells:
        try:
            tell(Path(folder))
        except (ValueError, OSError) as error:
            sys.stderr.write(f"fastvmt: {error}\n")


def tell_table(folder: Path) -> None:
    """Write the table of a study and print it. Raises ``ValueError`` where no row is finished."""
    from fastvmt.results.statistics import FEWEST, reference_of
    from fastvmt.studies.rows import read_rows
    from fastvmt.studies.table_command import FORMS, make_table, short_table

    make_table([folder], None, folder)
    sys.stdout.write(f"\n{short_table(folder)}\nwritten: {folder}/table.{{{','.join(FORMS)}}}\n")
    page, chance = (shlex.join(["python", "-m", f"fastvmt.{name}", str(folder)]) for name in ("report", "table"))
    sys.stdout.write(f"as a page with its videos: {page}\n")
    if len({reference_of(record.id) for row in read_rows([folder]) for record in row.records}) >= FEWEST:
        sys.stdout.write(f"with what unrelated clips score: {chance} --chance\n")


def tell_pareto(folder: Path, directions: Sequence[str]) -> None:
    """Write the best trade-offs of a search and print them. Raises ``ValueError`` where no trial is finished."""
    from fastvmt.studies.pareto import write_pareto
    from fastvmt.studies.rows import read_rows

    names = objectives(read_rows([folder])[-1].config)  # the sweep's own configuration lacks the command line
    for trial in write_pareto(folder, names, [str(direction) for direction in directions]):
        sys.stdout.write(
            f"{trial.name}: {', '.join(f'{n} {v:.3f}' for n, v in zip(names, trial.values, strict=True))}\n"
        )
    sys.stdout.write(f"written: {folder}/pareto.{{json,csv,png}}\n")


def tell_failures(folder: Path) -> None:
    """Say which rows of a study failed, and how to repeat each."""
    from fastvmt.studies.progress import failures, progress_of

    for failed in failures(progress_of(folder)):
        sys.stderr.write(f"fastvmt: failed: {harmless(failed)}\n")


def tell_earlier(folder: Path, names: Sequence[str]) -> None:
    """Say which rows of a study's table are of earlier sweeps than that over ``names``; nothing after one row again."""
    from fastvmt.studies.rows import runs_of

    rows = [run.name for run in runs_of(folder) if run.parent.name == "rows"]
    if earlier := [name for name in rows if len(names) > 1 and name not in names]:
        sys.stdout.write(f"rows of earlier sweeps, in the table too: {harmless(', '.join(earlier))}\n")


def alike(config: DictConfig, compositions: Compositions) -> list[list[str]]:
    """Group the names of rows whose videos would be the same; not of very large sweeps."""
    if not 1 < len(jobs := jobs_of(config)) <= MOST:
        return []
    from fastvmt.engine.identity import videos_key  # imports torch

    found: dict[str, list[str]] = {}
    for job in jobs:
        try:
            whole = compositions.kept(config, job)
            key = videos_key(OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"]))
        except (OmegaConfBaseException, ValueError):
            continue  # the job itself tells what is wrong with it
        if key is not None:
            found.setdefault(key, []).append(row_name(job_values(config.swept, config.hydra.sweeper, job)))
    return [names for names in found.values() if len(names) > 1]
