"""The command line: Hydra composes, :mod:`fastvmt.engine.run` works."""

from __future__ import annotations

import logging
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from omegaconf import DictConfig

from fastvmt.config import VERSION, config_folder, in_sweep
from fastvmt.errors import UserError
from fastvmt.literals import literal

log = logging.getLogger(__name__)


@hydra.main(**VERSION, config_path=str(config_folder()), config_name="config")
def job(cfg: DictConfig) -> float | None:
    """One run; returns the objective for sweepers. User errors print one line and exit with 2.

    In a sweep every job has a folder of its own, ``output_dir`` and the job's number, and a job that
    fails does not stop the others: Hydra ends with 1 when all are through.
    """
    from fastvmt.engine.run import run  # heavy imports only inside the job

    here, sweep = HydraConfig.get(), in_sweep()
    if sweep:
        cfg.output_dir = here.runtime.output_dir
    try:
        return run(cfg).get(cfg.objective)
    except UserError as error:
        sys.stderr.write(f"fastvmt: {f'job {here.job.num}: ' if sweep else ''}{error}\n")
        if sweep:
            raise CompactHydraException("This job failed; those after it ran, see above.") from None
        sys.exit(2)
    except Exception:
        if sweep:  # of several failures Hydra tells the first only
            log.exception("job %d failed", here.job.num)
        raise


def main() -> None:
    """The command ``fastvmt``: prompts and paths are taken as the shell gives them, then Hydra reads the rest."""
    try:
        sys.argv[1:] = literal(sys.argv[1:])
    except UserError as error:
        sys.stderr.write(f"fastvmt: {error}\n")
        sys.exit(2)
    job()
