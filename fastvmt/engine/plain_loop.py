"""The plain loop of a trial's cases, which a search counts the trial's time in."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from fastvmt.config import Rerun, WandbMode, config_folder
from fastvmt.engine.loaded import Shelf
from fastvmt.engine.run import run
from fastvmt.studies.pareto import PLAIN, objective


def plain_ratio(cfg: DictConfig, shelf: Shelf) -> float:
    """Divide a finished trial's loop by that of ``method=none``, which runs unless some trial had it run before."""
    plain = cfg.copy()
    with open_dict(plain):
        plain.method = OmegaConf.load(config_folder() / "method" / "none.yaml")
    plain.output_dir = (Path(cfg.output_dir) / PLAIN).as_posix()
    plain.logger.mode = WandbMode.disabled
    plain.rerun = Rerun.missing
    run(plain, shelf)
    return objective(Path(cfg.output_dir), "loop_ratio")
