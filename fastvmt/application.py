"""The command line's work: Hydra composes, :mod:`fastvmt.engine.run` runs, errors of both end in one line."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fastvmt.command_line import options_first, spelled_out
from fastvmt.compose import check_presets, mode_words
from fastvmt.compose_errors import explained
from fastvmt.config import config_folder, in_sweep, objectives
from fastvmt.errors import JobFailed, UserError
from fastvmt.literals import literal
from fastvmt.named_row import check_row
from fastvmt.ranks import shared_folder
from fastvmt.stopping import beside_the_first
from fastvmt.study import directions_of, end_sweep
from fastvmt.sweep import rehearsed, searching, swept_keys
from fastvmt.terminal import harmless
from fastvmt.versions import main_options

if TYPE_CHECKING:
    from fastvmt.engine.loaded import Shelf
    from fastvmt.engine.plan_total import PlannedRow

log = logging.getLogger(__name__)

Objective = float | list[float] | None
"""What sweepers get; nothing of a job that failed."""


class Application:
    """One command line. ``begins`` is told the folder of the results, of the whole sweep's, when a job is at work."""

    def __init__(self, arguments: Sequence[str], begins: Callable[[str], None]) -> None:
        self.arguments = list(arguments)
        self.begins = begins
        self.inside = False
        """Whether a job is at work: what fails outside of one is Hydra's composition or its writing."""
        self.shelf: Shelf | None = None
        """What the jobs of a sweep load once, when one has run in this process."""
        self.infeasible = self.feasible = False
        """Whether a search had trials that cannot be, and others."""
        self.failed = False
        """Whether a job of a sweep has failed, and has said so."""
        self.planned: list[PlannedRow] = []
        """Forecasts of the jobs that have run in this process, with ``plan=true``."""
        self.process = os.getpid()
        """Of the command; launchers run jobs in others."""

    def launch(self) -> None:
        """Run the job, or the sweep's jobs. Prompts and paths are taken as the shell gives them."""
        os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here as they are, not printed by Hydra

        @hydra.main(**main_options(), config_path=str(config_folder()), config_name="config")
        def main(cfg: DictConfig) -> Objective:
            return self.job(cfg)

        try:
            words = literal(spelled_out([*self.arguments, *shared_folder(self.arguments)]))
            sys.argv[1:] = options_first(with_swept([*words, *mode_words(words)]))
            main()
        except JobFailed as failed:
            self.failed = True
            if failed.args:
                end_sweep(*failed.args)
        except UserError as error:
            sys.stderr.write(f"fastvmt: {error}\n")
            sys.exit(2)
        except Exception as error:
            if self.inside:
                raise
            sys.stderr.write(f"fastvmt: {explained(error, self.arguments)}\n")
            sys.exit(2)
        if len(self.planned) > 1:
            from fastvmt.engine.plan_total import total_line

            sys.stdout.write(f"{harmless(total_line(self.planned))}\n")
        if self.failed or (self.infeasible and not self.feasible):
            sys.stderr.write("fastvmt: a job of the sweep failed, see above; what others made is kept\n")
            sys.exit(1)

    def job(self, cfg: DictConfig) -> Objective:
        """One run; returns the objective for sweepers.

        In a sweep every job has a folder of its own, ``rows/`` in ``output_dir`` and what it sweeps, and a job that
        fails does not stop the others: the command ends with 1 when all are through.
        """
        self.inside = True
        here = HydraConfig.get()
        sweep = in_sweep()
        self.begins(here.sweep.dir if sweep else cfg.output_dir)
        if sweep:
            cfg.output_dir = here.runtime.output_dir
        elif beside_the_first():  # the first one has resolved the time in the folder's name
            cfg.output_dir = here.run.dir
        objective = None
        try:
            with following(cfg):
                claim(here.runtime.choices.get("hydra/launcher"))
                objective = self.work(cfg)
        except UserError as error:
            sys.stderr.write(f"fastvmt: {f'job {here.job.num}: ' if sweep else ''}{error}\n")
            if not sweep:
                sys.exit(2)  # raised, Hydra would add a line of its own
            if searching(here.sweeper):  # a search passes over what cannot be
                self.infeasible = True
            else:
                self.failed = True
        except Exception:
            if not sweep:
                raise
            log.exception("job %d failed", here.job.num)
            self.failed = True
        self.inside = False
        self.feasible = self.feasible or objective is not None
        if self.failed and os.getpid() != self.process:
            end = () if rehearsed(cfg) else (here.sweep.dir, directions_of(here.sweeper))
            raise JobFailed(*end)  # what a launcher's process knows comes back no other way
        return objective

    def work(self, cfg: DictConfig) -> Objective:
        """Run a composed configuration; returns the objective. Raises :class:`UserError`."""
        try:
            OmegaConf.to_container(cfg, resolve=True)
        except OmegaConfBaseException as error:  # it refers to a key that is not there
            raise UserError(explained(error, self.arguments)) from error
        here = HydraConfig.get().overrides
        check_presets([*here.hydra, *here.task])
        check_row(here.task)
        from fastvmt.engine.loaded import Shelf  # heavy imports only inside the job
        from fastvmt.engine.run import foretell, run
        from fastvmt.studies.quantities import RATIO

        self.shelf = self.shelf or Shelf()
        if cfg.plan and not cfg.dry:
            self.planned.append(foretell(cfg, self.shelf))
            return None
        means = run(cfg, self.shelf)
        names = objectives(cfg)
        if RATIO in names and means:
            from fastvmt.engine.plain_loop import plain_ratio

            means |= {RATIO: plain_ratio(cfg, self.shelf)}
        values = [means[name] for name in names if name in means]
        if len(values) < len(names):
            return None
        return values[0] if len(values) == 1 else values


class TimeOver(BaseException):
    """The trainer's time was over before all cases of a job had begun: it is interrupted, and no failure."""


@contextmanager
def following(cfg: DictConfig) -> Iterator[None]:
    """Note in the output folder how the job ends; not what transfers nothing, and of several processes the first."""
    if rehearsed(cfg) or beside_the_first():
        yield
        return
    from fastvmt.results.events import noted  # imports torch

    with suppress(TimeOver), noted(Path(cfg.output_dir)):
        yield
        if cfg.trainer.max_time is not None and lacks_cases(Path(cfg.output_dir)):
            raise TimeOver


def lacks_cases(folder: Path) -> bool:
    """Whether the result of a run has fewer cases than the run began with."""
    from fastvmt.results.folder import RunFolder  # imports torch

    run = RunFolder(folder)
    return len(run.content()["cases"]) < (run.asked or 0)


def claim(launcher: str | None) -> None:
    """Take a GPU for this process, where the launcher has one job for each. Raises :class:`UserError` without one."""
    if launcher == "gpus":
        from fastvmt.claims import claim_gpu

        claim_gpu()


def with_swept(arguments: Sequence[str]) -> list[str]:
    """Tell the jobs of a sweep, which see one value each, what the command line sweeps."""
    found = swept_keys(arguments)
    return [*arguments, f"swept=[{','.join(found)}]"] if found else list(arguments)
