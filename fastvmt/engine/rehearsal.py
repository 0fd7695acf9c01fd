"""What a dry run does of a run: everything but loading the model and the networks of the scores, and transferring."""

from __future__ import annotations

import wandb
from omegaconf import DictConfig

from fastvmt.engine.fit import check_fit
from fastvmt.engine.plan import Plan, cache_of, make_tracker
from fastvmt.engine.resources import check_devices, check_folder, check_trainer
from fastvmt.errors import UserError
from fastvmt.score.requirements import check_files


def rehearse(plan: Plan) -> None:
    """Raise :class:`UserError` for what would end the run of a plan before its first case.

    That is a device, a folder, the tracker, a file of weights or a setting of W&B. The tracker is built with its
    weights, which are small.
    """
    cfg = plan.cfg
    check_devices(cfg)
    check_fit(plan)
    check_trainer(cfg)
    check_folder(cfg, "output_dir")
    make_tracker(cfg, cache_of(cfg))
    check_scores(cfg)
    try:
        wandb.Settings(project=cfg.logger.project, run_group=cfg.logger.group, mode=cfg.logger.mode.value)
    except (ValueError, wandb.errors.UsageError) as error:
        raise UserError(f"logger: {' '.join(str(error).split())}") from error


def check_scores(cfg: DictConfig) -> None:
    """Raise :class:`UserError` for a file of weights that a score lacks, or that is not its own."""
    names = (*cfg.metrics.names, *cfg.metrics.get("also", ()))
    clip, weights = (dict(cfg.metrics.get(key) or {}) for key in ("clip", "weights"))
    try:
        check_files(names, clip, weights, cfg.metrics.get("on_missing", "error"))
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error
