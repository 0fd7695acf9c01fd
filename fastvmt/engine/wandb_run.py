"""One Weights & Biases run per row, written when the row ends.

It is a Lightning logger, so that callbacks of the user's have ``trainer.logger`` and log what they like. How the run
is opened is our own: Lightning's way sets ``WANDB_MODE`` of the whole process when offline, resumes a run of the same
id and so appends to its history, and makes ``trainer/global_step`` the axis of every key. The run is opened when a
callback asks for it, from ``on_test_start`` on, or else at the end of the row.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger

from fastvmt.config import WandbMode
from fastvmt.engine.callback import Outcome, RunCallback
from fastvmt.engine.session import Session
from fastvmt.engine.wandb_content import RunContent, RunIdentity, run_content, run_identity
from fastvmt.errors import UserError, first_line
from fastvmt.files import is_plain, read_json, write_json

log = logging.getLogger(__name__)

PATIENCE = 30
"""Seconds to wait for a server."""


class RowLogger(WandbLogger):
    """The run of one row, in ``wandb/`` of its folder. One of an earlier invocation gives way to it."""

    def __init__(self, mode: WandbMode, project: str, identity: RunIdentity, folder: Path) -> None:
        super().__init__(name=identity.name, project=project, id=identity.id, save_dir=folder)
        self.mode = mode
        self.project = project
        self.identity = identity
        self.folder = folder.absolute()  # the service of another process, which may be asked, has a place of its own
        self.ready = False
        self.run: wandb.Run | None = None
        self.added: list[str] = []

    @property
    @rank_zero_experiment
    def experiment(self) -> wandb.Run | None:
        """The run; one that keeps nothing where W&B cannot open any, which is told once.

        None until callbacks are set up: Lightning asks every logger before, and would open a run for a finished row.
        """
        if self.run is None and self.ready:
            try:
                self.run = self.reached()
            except Exception as error:
                self.refused(error)
                self.run = self.opened(WandbMode.disabled)
        return self.run

    def refused(self, error: Exception) -> None:
        """Tell that there will be no run."""
        log.warning(
            "Weights & Biases has no run of this row (%s): its results are in %s", first_line(error), self.folder
        )

    def check_server(self) -> None:
        """With ``online``: keep the run offline if the server does not take the key. Raises :class:`UserError`
        without a key."""
        try:
            known = wandb.login(prompt=False, verify=True)
        except wandb.errors.Error as error:
            self.kept_offline(error)
            return
        if not known:
            lacking = "there is no API key: run `wandb login`, or set logger.mode=offline to stay on this machine"
            raise UserError(f"logger.mode=online: {lacking}")

    def kept_offline(self, error: Exception) -> None:
        """Tell that the server will not get the run."""
        log.warning("Weights & Biases cannot be reached (%s): this run is kept offline", first_line(error))
        self.mode = WandbMode.offline

    def reached(self) -> wandb.Run:
        """Open the run as asked for, offline where the server fails."""
        try:
            return self.opened(self.mode)
        except wandb.errors.Error as error:
            if self.mode is not WandbMode.online:
                raise
            self.kept_offline(error)
            wandb.teardown()  # its service would say that the id is taken
            return self.opened(self.mode)

    def opened(self, mode: WandbMode) -> wandb.Run:
        """Open a run, in place of an earlier one of its id."""
        self.set_environment()
        run = wandb.init(
            project=self.project,
            mode=mode.value,
            id=self.identity.id,
            name=self.identity.name,
            group=self.identity.group,
            job_type=self.identity.job_type,
            tags=self.identity.tags,
            dir=self.folder,
            config=dict(self.identity.config),
            settings=wandb.Settings(silent=True, console="off", init_timeout=PATIENCE),
        )
        for keys, step in (("case/*", "case/index"), ("inner/*", "inner/iteration")):
            run.define_metric(step, hidden=True, summary="none")
            run.define_metric(keys, step_metric=step, summary="none")
        return run

    def set_environment(self) -> None:
        """Set what W&B takes from the environment alone, while the run lasts.

        Files of tables are staged in the home directory, unless told otherwise (settings, which name the host, stay
        there), and its service reports errors and usage to its makers, offline too.
        """
        wanted = dict.fromkeys(("WANDB_DATA_DIR", "WANDB_CACHE_DIR"), str(self.folder / "wandb"))
        if self.mode is not WandbMode.online:
            wanted["WANDB_ERROR_REPORTING"] = "false"
        added = [name for name in wanted if name not in os.environ]
        os.environ |= {name: wanted[name] for name in added}
        self.added += added

    @property
    def mark(self) -> Path:
        """Says which run was written last, and of what."""
        return self.folder / "wandb" / "row.json"

    def written(self) -> dict[str, Any]:
        """Read the mark; nothing where there is none, or a damaged one."""
        try:
            found = read_json(self.mark) if is_plain(self.mark) else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, content: RunContent, exit_code: int) -> None:
        """Write the run and close it, unless it is there as it would be written."""
        asked = self.mode
        digest = content.digest(self.identity, exit_code)
        before = self.written()
        if self.run is None and (before.get("digest"), before.get("mode")) == (digest, asked.value):
            return
        run = self.experiment
        assert run is not None
        for row in (*content.cases, *content.inner):
            run.log(dict(row))
        run.log({key: wandb.Video(str(file), format="mp4") for key, file in content.videos.items()})
        columns, rows = content.table
        run.log({"cases": wandb.Table(columns=columns, data=rows)})
        run.summary.update(dict(content.summary))
        run.finish(exit_code=exit_code)
        if run.disabled:
            return
        here = Path(run.dir).parent
        for id in {self.identity.id, before.get("id")} - {None}:
            for earlier in (self.folder / "wandb").glob(f"*run-*-{id}"):
                if earlier.is_dir() and not earlier.is_symlink() and earlier.name != here.name:
                    shutil.rmtree(earlier, ignore_errors=True)
        write_json(self.mark, {"id": self.identity.id, "digest": digest, "mode": self.mode.value})

    def close(self) -> None:
        """Let go of a run that could not be written, and leave the environment as it was."""
        if wandb.run is not None and wandb.run is self.run:
            with suppress(Exception):  # what is wrong has been told
                self.run.finish(exit_code=1)
        for name in self.added:
            os.environ.pop(name, None)
        self.added = []


class WandbRun(RunCallback):
    """Writes the run of a row when it ends, in the first of all processes."""

    def __init__(self, session: Session, logger: RowLogger) -> None:
        self.session = session
        self.logger = logger
        self.outcomes: list[Outcome] = []
        self.main_process = False

    def setup(self, *_: Any, **__: Any) -> None:
        """See Lightning."""
        self.logger.ready = True

    def begin(self, main_process: bool) -> None:
        """See that the server takes the key."""
        if main_process and self.logger.mode is WandbMode.online:
            self.logger.check_server()
        self.main_process = main_process

    def case_ends(self, outcome: Outcome) -> None:
        """Keep in mind what a stopped run has."""
        self.outcomes.append(outcome)

    def end(self, outcomes: Sequence[Outcome]) -> None:
        """Write the cases of all processes."""
        self.write(outcomes, 0)

    def stop(self, exit_code: int) -> None:
        """Write a failed or interrupted run as such."""
        self.write(self.outcomes, exit_code)

    def write(self, outcomes: Sequence[Outcome], exit_code: int) -> None:
        """Write the run. Whatever is wrong with W&B, the row's results stay, and that is told in one line."""
        if not self.main_process:
            return
        try:
            self.logger.write(run_content(self.session, outcomes), exit_code)
        except Exception as error:
            self.logger.refused(error)
        finally:
            self.logger.close()


def row_logger(session: Session) -> RowLogger | None:
    """Make the logger of a session's row; None with ``logger.mode=disabled``."""
    cfg = session.plan.cfg
    if cfg.logger.mode is WandbMode.disabled:
        return None
    return RowLogger(cfg.logger.mode, cfg.logger.project, run_identity(session), Path(cfg.output_dir))
