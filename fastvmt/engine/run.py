"""One run, top to bottom: check, load, transfer every case, write the results."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import diffusers
import lightning
import torch
import transformers
import wandb
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from fastvmt.cache import TensorCache
from fastvmt.config import in_sweep
from fastvmt.construct import construct
from fastvmt.engine.callbacks import CaseFiles, RunFile
from fastvmt.engine.datamodule import CaseData
from fastvmt.engine.module import TransferModule
from fastvmt.engine.plan import Plan, make_plan, make_tracker
from fastvmt.engine.progress import CaseProgress
from fastvmt.engine.wandb_run import WandbRun
from fastvmt.errors import UserError
from fastvmt.results.record import config_hash, mean_scores, slug
from fastvmt.results.tables import lost_table, mean_table, plan_table, score_table
from fastvmt.score.scores import Scores

__all__ = ["UserError", "run"]

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> dict[str, float]:
    """Run every case of a composed configuration; returns the mean of each score.

    Raises :class:`UserError` for whatever the user can mend, before weights load where possible.
    """
    plan = make_plan(cfg)
    check_devices(cfg)
    console = Console()
    if cfg.dry:
        console.print(plan_table(plan))
        print_lost(plan, console)
        return {}
    return execute(plan, console)


def print_lost(plan: Plan, console: Console) -> None:
    """The benchmark's references that were left out, if any."""
    if plan.cases.lost:
        console.print(lost_table(plan.cases.lost))


def check_devices(cfg: DictConfig) -> None:
    """Several devices inside a sweep would start every job twice."""
    if in_sweep() and cfg.trainer.devices not in (1, "1"):
        raise UserError(f"trainer.devices={cfg.trainer.devices} in a sweep: use one device per job (trainer.devices=1)")


def quiet_libraries() -> None:
    """No network at run time, and no chatter of libraries between the progress bars."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        os.environ.setdefault(variable, "1")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    for handler in logging.getLogger().handlers:  # open_clip logs to the root logger
        handler.addFilter(lambda record: "open_clip" not in record.pathname or record.levelno > logging.INFO)
    for message in ("does not have many workers", "GPU available but not used", "isinstance.*LeafSpec"):
        warnings.filterwarnings("ignore", f".*{message}")


def check_resources(cfg: DictConfig) -> None:
    """Raise :class:`UserError` for a GPU that is not there and folders that cannot be written to."""
    for key in ("backbone.device", "metrics.device"):
        name = str(OmegaConf.select(cfg, key, default="auto"))
        if name.startswith("cuda") and not torch.cuda.is_available():
            raise UserError(f"{key}={name}: torch finds no CUDA device on this machine, set device=auto or device=cpu")
    for key in ("output_dir", "cache_dir"):
        if cfg[key] is not None:
            try:
                Path(cfg[key]).mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=cfg[key]):
                    pass
            except OSError as error:
                raise UserError(
                    f"{key}={cfg[key]} cannot be written to: {error.strerror}; set {key}=<folder>"
                ) from error


def transfer_all(trainer: lightning.Trainer, module: TransferModule, folder: Path) -> None:
    """Every case of the plan; whatever stops them says how to go on."""
    kept = f"finished cases are kept, run again with output_dir={folder}"
    try:
        trainer.test(module, CaseData(module.plan.cases), verbose=False)
    except FloatingPointError as error:
        raise UserError(str(error)) from error
    except wandb.errors.UsageError as error:
        mode = module.plan.cfg.logger.mode.value
        raise UserError(f"logger.mode={mode}: {error} Set logger.mode=offline to stay on this machine.") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(f"no space left for {folder}: {kept}") from error
    except SystemExit as stop:  # Lightning's, after Ctrl-C or SIGTERM
        sys.stderr.write(f"fastvmt: stopped; {kept}\n")
        number = signal.SIGTERM if isinstance(stop, SIGTERMException) else signal.SIGINT
        raise SystemExit(128 + number) from stop


def execute(plan: Plan, console: Console) -> dict[str, float]:
    """Load, run and write."""
    quiet_libraries()
    check_resources(plan.cfg)
    cfg, folder = plan.cfg, Path(plan.cfg.output_dir)
    OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
    scores: Scores = construct(cfg.metrics, "metrics", tracker=make_tracker(cfg))
    start = time.perf_counter()
    backbone = construct(cfg.backbone, "backbone")
    load_seconds = time.perf_counter() - start
    key = config_hash(cfg)
    cache = TensorCache(None if cfg.cache_dir is None else Path(cfg.cache_dir))
    module = TransferModule(plan, backbone, scores, cache, key)
    module.load_seconds = load_seconds
    trainer = lightning.Trainer(
        accelerator=cfg.trainer.accelerator.value,
        devices=cfg.trainer.devices,
        callbacks=[CaseProgress(console), CaseFiles(), RunFile(), WandbRun(cfg.logger)],
        inference_mode=False,  # the guidance needs gradients
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    transfer_all(trainer, module, folder)
    console.print(score_table(module.records))
    console.print(mean_table(module.records))
    print_lost(plan, console)
    first = folder / "cases" / slug(module.records[0]["id"]) / "side_by_side.mp4"
    console.print(f"results: {folder}  (first video: {first})", soft_wrap=True)
    means = {name: float(row["mean"]) for name, row in mean_scores(module.records).items()}
    if in_sweep() and means and cfg.objective not in means:
        log.warning("objective=%s is none of the scores, a sweeper gets nothing: %s", cfg.objective, ", ".join(means))
    return means
