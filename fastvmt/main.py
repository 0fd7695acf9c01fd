"""The command line: Hydra composes, :mod:`fastvmt.engine.run` works."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from fastvmt.config import config_folder


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")
def main(cfg: DictConfig) -> float | None:
    """One run; returns the objective for sweepers. User errors print one line and exit with 2."""
    from fastvmt.engine.run import UserError, run  # heavy imports only inside the job

    try:
        return run(cfg).get(cfg.objective)
    except UserError as error:
        sys.exit(f"fastvmt: {error}")
