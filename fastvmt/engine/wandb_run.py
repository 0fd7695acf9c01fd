"""One Weights & Biases run per job: curves, videos, a table of cases, mean scores."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import wandb
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fastvmt.config import WandbMode, in_sweep
from fastvmt.engine.callback import Outcome, RunCallback
from fastvmt.engine.session import Session
from fastvmt.results.columns import healthy, mean_scores, mean_seconds

log = logging.getLogger(__name__)

PATIENCE = 30
"""Seconds."""


def first_line(error: Exception) -> str:
    """What an error says first."""
    return next(iter(str(error).splitlines()), type(error).__name__)


class WandbRun(RunCallback):
    """Offline unless ``logger.mode=online``; runs of a sweep share a group."""

    def __init__(self, cfg: DictConfig, session: Session) -> None:
        self.cfg = cfg
        self.session = session
        self.added: list[str] = []
        self.logged: set[str] = set()
        self.run: wandb.Run | None = None
        self.table: wandb.Table | None = None

    def group(self) -> str | None:
        """Give the sweep's folder, inside a sweep."""
        chosen: str | None = self.cfg.group
        if chosen is not None or not in_sweep():
            return chosen
        return Path(HydraConfig.get().sweep.dir).as_posix()

    def environment(self, folder: Path) -> dict[str, str]:
        """Give what W&B takes from the environment alone, while the run lasts.

        Files of tables are staged in the home directory, unless told otherwise (settings, which name the host, stay
        there), and its service reports errors and usage to its makers, offline too.
        """
        wanted = dict.fromkeys(("WANDB_DATA_DIR", "WANDB_CACHE_DIR"), str(folder / "wandb"))
        return wanted if self.cfg.mode is WandbMode.online else wanted | {"WANDB_ERROR_REPORTING": "false"}

    def begin(self, main_process: bool) -> None:
        """Open the run, in one process."""
        folder = Path(self.session.plan.cfg.output_dir)
        wanted = self.environment(folder)
        self.added = [name for name in wanted if name not in os.environ]
        os.environ |= {name: wanted[name] for name in self.added}
        mode = self.cfg.mode if main_process else WandbMode.disabled
        try:
            self.run = self.opened(mode)
        except wandb.errors.UsageError:  # a bad or missing key, which the user can mend
            raise
        except wandb.errors.Error as error:
            if mode is not WandbMode.online:
                raise
            log.warning("Weights & Biases cannot be reached (%s): this run is kept offline", first_line(error))
            self.run = self.opened(WandbMode.offline)

    def opened(self, mode: WandbMode) -> wandb.Run:
        """Open a run; waits for the server for ``PATIENCE`` seconds at most."""
        plan = self.session.plan
        return wandb.init(
            project=self.cfg.project,
            mode=mode.value,
            group=self.group(),
            dir=Path(plan.cfg.output_dir),
            name=f"{plan.method.name}-{self.session.key[:8]}",
            config=OmegaConf.to_container(plan.cfg, resolve=True, enum_to_str=True),  # type: ignore[arg-type]
            settings=wandb.Settings(silent=True, console="off", init_timeout=PATIENCE, login_timeout=PATIENCE),
        )

    def case_ends(self, outcome: Outcome) -> None:
        """Log a case: scores, seconds, curves, its video, a row of the table."""
        assert self.run is not None
        record = outcome.record
        self.logged.add(record.id)
        seconds = {f"seconds/{stage}": value for stage, value in record.seconds.items()}
        self.run.log({f"score/{name}": value for name, value in record.scores.items()} | seconds)
        for row in outcome.trace:
            self.run.log({f"guidance/{name}": value for name, value in row.items()})
        video = outcome.folder.side_by_side
        media = wandb.Video(str(video), format="mp4") if video.exists() else None
        if media is not None:
            self.run.log({"side_by_side": media})
        if self.table is None:
            self.table = wandb.Table(["case", "category", "prompt", "video", *record.scores, "seconds"])
        self.table.add_data(
            record.id, record.category, record.prompt, media, *record.scores.values(), record.seconds["total"]
        )

    def end(self, outcomes: Sequence[Outcome]) -> None:
        """Log the cases of other processes, the table and the means."""
        assert self.run is not None
        for outcome in outcomes:
            if outcome.record.id not in self.logged:
                self.case_ends(outcome)
        records = [outcome.record for outcome in outcomes]
        if self.table is not None:
            self.run.log({"cases": self.table})
        means = {f"mean/{name}": row["mean"] for name, row in mean_scores(records).items()}
        counted = healthy(records)
        seconds = {f"mean_seconds/{k}": v for k, v in mean_seconds(counted).items()}
        self.run.summary.update(means | seconds | {"diverged": len(records) - len(counted)})
        self.close()

    def stop(self, exit_code: int) -> None:
        """Close a failed or interrupted run as such."""
        self.close(exit_code)

    def close(self, exit_code: int = 0) -> None:
        """End the run, if it began, and leave the environment as it was."""
        if self.run is not None:
            self.run.finish(exit_code=exit_code)
        for name in self.added:
            os.environ.pop(name, None)
        self.added = []
