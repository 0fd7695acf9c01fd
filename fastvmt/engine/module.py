"""The LightningModule: a test step is a call of the session, the end of the test writes the run's file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import lightning
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from fastvmt.config import OnDiverged, in_sweep
from fastvmt.device import format_name
from fastvmt.engine.callback import Outcome
from fastvmt.engine.case_files import write_case, write_diverged
from fastvmt.engine.case_state import StateFile
from fastvmt.engine.fit import format_for
from fastvmt.engine.recall import found_before, keep
from fastvmt.engine.session import Session
from fastvmt.engine.transfer import DivergedCase
from fastvmt.files import write_json
from fastvmt.literals import search_words
from fastvmt.results.case_record import VERSION, CaseRecord
from fastvmt.results.columns import summaries
from fastvmt.results.folder import CaseFolder, RunFolder
from fastvmt.results.provenance import provenance
from fastvmt.sweep import job_values
from fastvmt.types import TransferCase

log = logging.getLogger(__name__)


class TransferModule(lightning.LightningModule):
    """Cases of a session into a folder. The session is a plain object: Lightning neither moves nor saves it."""

    def __init__(
        self,
        session: Session,
        folder: RunFolder,
        on_step: Callable[[int], None] | None = None,
        on_iteration: Callable[[dict[str, float]], None] | None = None,
    ) -> None:
        super().__init__()
        self.session = session
        self.folder = folder
        self.on_step = on_step
        self.on_iteration = on_iteration
        self.outcomes: list[Outcome] = []
        """Of this process; at the end of all, by case."""

    def test_step(self, case: TransferCase, index: int) -> dict[str, Outcome]:
        """Transfer a case and write its files, or take those of an earlier run.

        Raises :class:`fastvmt.divergence.Diverged` with ``on_diverged=stop``.
        """
        folder = self.folder.case(case.id)
        record = found_before(self.session, case, folder) or self.generate(case, folder)
        folder.state.unlink(missing_ok=True)
        outcome = Outcome(record, folder)
        self.outcomes.append(outcome)
        return {"outcome": outcome}

    def generate(self, case: TransferCase, folder: CaseFolder) -> CaseRecord:
        """Transfer a case and write its files; returns its record."""
        session = self.session
        found = session.attempt(
            case, on_step=self.on_step, on_iteration=self.on_iteration, checkpoint=self.state(case, folder)
        )
        if not isinstance(found, DivergedCase):
            record = write_case(folder, session, found)
            keep(session, folder, record, found.result)
            return record
        if session.plan.cfg.on_diverged is OnDiverged.stop:
            raise found.error
        log.warning(f"{found.error}; the case is recorded as diverged")
        record = write_diverged(folder, found)
        keep(session, folder, record, None)
        return record

    @property
    def records(self) -> list[CaseRecord]:
        """What came of the cases."""
        return [outcome.record for outcome in self.outcomes]

    def state(self, case: TransferCase, folder: CaseFolder) -> StateFile | None:
        """Tell where the case's state is kept on the way, if it is."""
        every = self.session.plan.cfg.checkpoint_steps
        return None if every is None else StateFile(folder.state, self.session.identity(case), every)

    def on_test_epoch_end(self) -> None:
        """Gather the outcomes of all processes and write ``result.json``."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            gathered: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(gathered, self.outcomes)
            self.outcomes = [outcome for part in gathered for outcome in part]
        self.outcomes.sort(key=lambda outcome: outcome.record.id)
        if self.trainer.is_global_zero:
            write_json(self.folder.result, run_result(self.session, self.records))


def overrides() -> list[str]:
    """Tell what the command line said, the user's own folders of yaml files first; nothing where there was none."""
    if not HydraConfig.initialized():
        return []
    here = HydraConfig.get()
    return [*search_words(here), *here.overrides.task]


def sweep_row(swept: Sequence[str]) -> dict[str, Any] | None:
    """Tell which row of a sweep this is: its values of the swept keys, and its number; None outside of one."""
    if not in_sweep():
        return None
    here = HydraConfig.get()
    return {"values": job_values(swept, here.sweeper, overrides()), "job": here.job.num}


def run_result(session: Session, records: list[CaseRecord]) -> dict[str, Any]:
    """Give what ``result.json`` holds: means over cases, every case, and where it all came from."""
    plan = session.plan
    model = session.model
    formats = sorted({record.maker["dtype"] for record in records if "dtype" in record.maker})
    return {
        "version": VERSION,
        **summaries(records),
        "gpu_at_start": None if model is None else model.meters.gpu_at_start,
        "idle_power_w": None if model is None else model.meters.idle_power_w,
        "load_seconds": 0.0 if model is None else model.seconds,
        "lost": [asdict(lost) for lost in plan.cases.lost],
        "attribution": plan.cases.attribution,
        "metrics": session.scores.provenance(),
        "method": plan.method.name,
        "backbone": {
            "name": plan.layout.name,
            "weights_sha256": session.weights,
            "dtype": ", ".join(formats) or format_name(format_for(plan.cfg)),
        },
        "overrides": overrides(),
        "row": sweep_row(plan.cfg.swept),
        "config_hash": session.key,
        "config": OmegaConf.to_container(plan.cfg, resolve=True, enum_to_str=True),
        **provenance(None if model is None else model.meters.nvml),
    }
