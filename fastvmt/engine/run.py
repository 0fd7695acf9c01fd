"""One run, top to bottom: check, load, transfer every case, write the results."""

from __future__ import annotations

import errno
import logging
import signal
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import lightning
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from fastvmt.benchmarks.reference import ManifestError
from fastvmt.claims import claim_folder
from fastvmt.config import in_sweep, objectives
from fastvmt.engine import out_of_memory
from fastvmt.engine.calibration import calibrated
from fastvmt.engine.datamodule import CaseData
from fastvmt.engine.fit import check_fit, predicted
from fastvmt.engine.forecast import forecast, forecast_table
from fastvmt.engine.identity import videos_key
from fastvmt.engine.loaded import Shelf
from fastvmt.engine.module import TransferModule
from fastvmt.engine.plan import Plan, make_plan
from fastvmt.engine.plan_tables import lost_table, memory_line, plan_table
from fastvmt.engine.plan_total import PlannedRow
from fastvmt.engine.progress import CaseProgress
from fastvmt.engine.quiet import quiet_libraries
from fastvmt.engine.recall import has_all, kept
from fastvmt.engine.rehearsal import check_scores, rehearse
from fastvmt.engine.resources import check_folder, check_trainer
from fastvmt.engine.session import Session
from fastvmt.engine.standing import Standing
from fastvmt.engine.trainer import check_trainer_values, make_trainer, time_limit
from fastvmt.engine.wandb_run import WandbRun, row_logger
from fastvmt.errors import UserError
from fastvmt.results.columns import healthy, mean_scores
from fastvmt.results.events import STARTED, note
from fastvmt.results.folder import RunFolder
from fastvmt.results.tables import mean_table, score_table
from fastvmt.stopping import Stopped, beside_the_first
from fastvmt.studies.claims import unreadable
from fastvmt.studies.quantities import RATIO
from fastvmt.sweep import searching
from fastvmt.terminal import literal_text
from fastvmt.threads import computing_with

log = logging.getLogger(__name__)

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of a disk that is full or may not be written to."""


def run(cfg: DictConfig, shelf: Shelf | None = None) -> dict[str, float]:
    """Run every case of a composed configuration; returns the mean of each score.

    ``shelf`` keeps what is loaded for the next run. With ``dry=true`` and ``plan=true`` nothing is transferred.
    Raises :class:`UserError` for whatever the user can mend, before weights load where possible.
    """
    shelf = Shelf() if shelf is None else shelf
    if cfg.plan and not cfg.dry:
        foretell(cfg, shelf)
        return {}
    plan = checked(cfg)
    console = Console(quiet=beside_the_first())
    if cfg.dry:
        rehearse(plan)
        console.print(plan_table(plan, predicted(plan)))
        print_lost(plan, console)
        return {}
    check_folder(cfg, "output_dir")
    check_trainer(cfg)
    alone = nullcontext() if beside_the_first() or cfg.trainer.num_nodes > 1 else claim_folder(Path(cfg.output_dir))
    with alone, quiet_libraries(), computing_with(cfg.threads), out_of_memory.refused(cfg.backbone):
        Standing.of(plan).check()  # once more: another process may have ended here since
        return execute(plan, shelf, console)


def foretell(cfg: DictConfig, shelf: Shelf) -> PlannedRow:
    """Print what a composed configuration would cost, and return it; transfers nothing. Raises as :func:`run`."""
    plan = checked(cfg)
    check_scores(cfg)
    told = forecast(plan, calibrated(plan, shelf))
    row = PlannedRow(Path(cfg.output_dir).name, videos_key(cfg), told, kept(plan))
    Console(quiet=beside_the_first()).print(forecast_table(row.forecast, row.kept))
    return row


def checked(cfg: DictConfig) -> Plan:
    """Check a composed configuration, and the output folder against it. Raises :class:`UserError`."""
    if told := unreadable(cfg.table.claims or ()):
        raise UserError(told)
    plan = make_plan(cfg)
    check_sweep(cfg)
    check_trainer_values(cfg.trainer)
    check_share(cfg.trainer.limit_test_batches, len(plan.cases))
    Standing.of(plan).check()
    return plan


def print_lost(plan: Plan, console: Console) -> None:
    """Print the benchmark's references that were left out, if any."""
    if plan.cases.lost:
        console.print(lost_table(plan.cases.lost))


def check_share(limit: float | None, cases: int) -> None:
    """Raise :class:`UserError` for a share of the cases that is less than one."""
    if isinstance(limit, float) and int(limit * cases) < 1:
        least = f"at least 1 of {cases} cases is needed, set a count, or a share from {1 / cases:.3g} to 1"
        raise UserError(f"trainer.limit_test_batches={limit}: {least}")


def check_sweep(cfg: DictConfig) -> None:
    """Raise :class:`UserError` for several devices inside a sweep, which would start every job twice."""
    if in_sweep() and cfg.trainer.devices not in (1, "1"):
        raise UserError(f"trainer.devices={cfg.trainer.devices} in a sweep: use one device per job (trainer.devices=1)")


def transfer_all(trainer: lightning.Trainer, module: TransferModule, plan: Plan) -> bool:
    """Transfer the plan's cases; returns whether the trainer's time was over before all had begun.

    Raises :class:`UserError` for what the user can mend, such as a full disk.
    """
    data = CaseData(plan.cases, time_limit(plan.cfg.trainer.max_time))
    folder = study_folder(Path(plan.cfg.output_dir))
    try:
        trainer.test(module, data, verbose=False)
    except FloatingPointError as error:
        raise UserError(str(error)) from error
    except ManifestError as error:  # a clip that was changed or removed meanwhile
        raise UserError(f"{error}; finished cases are kept, run again with output_dir={folder}") from error
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        kept = f"finished cases are kept, run again with output_dir={folder} when there is room"
        raise UserError(f"{error.filename or f'output_dir={folder}'}: {error.strerror}; {kept}") from error
    except Stopped:
        if (launcher := trainer.strategy.launcher) is not None:  # the processes of the other devices
            launcher.kill(signal.SIGTERM)
        raise
    return data.cut


def study_folder(folder: Path) -> Path:
    """Give what ``output_dir`` is called with again: in a sweep the study, of which a job's own folder is a row."""
    return Path(HydraConfig.get().sweep.dir) if in_sweep() else folder


def tell_objective(cfg: DictConfig, means: Mapping[str, float]) -> None:
    """Warn where a trial of a search has no value of its objective."""
    if not means or not in_sweep() or not searching(HydraConfig.get().sweeper):
        return
    if unknown := [name for name in objectives(cfg) if name not in (*means, RATIO)]:
        found = ", ".join(means)
        log.warning("objective=%s is n/a or none of the scores, a search gets nothing: %s", unknown[0], found)


def execute(plan: Plan, shelf: Shelf, console: Console) -> dict[str, float]:
    """Load, run and write."""
    cfg = plan.cfg
    folder = RunFolder(Path(plan.cfg.output_dir))
    if not beside_the_first():
        if cfg.overwrite:
            folder.result.unlink(missing_ok=True)  # of other settings, if this run is stopped
        OmegaConf.save(cfg, folder.config, resolve=True)
        note(folder.path, STARTED, cases=len(plan.cases))
    session = Session(plan, shelf.take(plan))
    if not has_all(session, plan.cases, folder):
        console.print(literal_text(f"memory, predicted: {memory_line(predicted(plan))}"), soft_wrap=True)
        check_fit(plan)
        shelf.take(plan).load()
    progress = CaseProgress(console, plan)
    module = TransferModule(session, folder, progress.on_step, progress.on_iteration)
    logger = row_logger(session)
    watching = [progress, *([] if logger is None else [WandbRun(session, logger)])]
    cut = transfer_all(make_trainer(cfg.trainer, folder.path, watching, logger), module, plan)
    headline = session.scores.headline
    records = module.records
    if cut:
        over = "trainer.max_time=%s is over before all cases are through: go on with output_dir=%s"
        log.warning(over, cfg.trainer.max_time, study_folder(folder.path))
    console.print(score_table(records, headline))
    console.print(mean_table(records))
    print_lost(plan, console)
    first = next((f" (first video: {folder.case(r.id).side_by_side})" for r in healthy(records)), "")
    console.print(literal_text(f"results: {folder.path} {first}"), soft_wrap=True)
    diverged = [record for record in records if record.diverged is not None]
    if len(diverged) == len(records):
        told = f"the first, {diverged[0].id}: {diverged[0].diverged}"
        raise UserError(f"all {len(diverged)} cases diverged, none has a video or scores; {told}")
    means = {name: float(row["mean"]) for name, row in mean_scores(records).items()}
    tell_objective(cfg, means)
    return means
