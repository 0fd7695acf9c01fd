"""One Weights & Biases run per job: curves, videos, a table of cases, mean scores."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning
import wandb
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fastvmt.config import in_sweep
from fastvmt.engine.module import TransferModule
from fastvmt.results.record import mean_scores, mean_seconds

FOLDERS = ("WANDB_DATA_DIR", "WANDB_CACHE_DIR")
"""In the home directory, unless set: where files of tables are staged. Settings, which name the host, stay there."""


class WandbRun(lightning.Callback):
    """Offline unless ``logger.mode=online``; runs of a sweep share a group."""

    def __init__(self, cfg: DictConfig) -> None:
        self.cfg = cfg
        self.redirected: list[str] = []
        self.run: wandb.Run | None = None

    def group(self) -> str | None:
        """The sweep's folder, inside a sweep."""
        chosen: str | None = self.cfg.group
        if chosen is not None or not in_sweep():
            return chosen
        return Path(HydraConfig.get().sweep.dir).as_posix()

    def on_test_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, TransferModule)
        cfg = module.plan.cfg
        folder = Path(cfg.output_dir)
        self.redirected = [name for name in FOLDERS if name not in os.environ]
        os.environ |= dict.fromkeys(self.redirected, str(folder / "wandb"))
        self.run = wandb.init(
            project=self.cfg.project,
            mode=self.cfg.mode.value if trainer.is_global_zero else "disabled",
            group=self.group(),
            dir=folder,
            name=f"{module.plan.method.name}-{module.key[:8]}",
            config=OmegaConf.to_container(cfg, resolve=True, enum_to_str=True),  # type: ignore[arg-type]
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.table: wandb.Table | None = None

    def on_test_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        assert isinstance(module, TransferModule)
        assert self.run is not None
        record = outputs["record"]
        scores, seconds = record["scores"], {f"seconds/{k}": v for k, v in record["seconds"].items()}
        self.run.log({f"score/{name}": value for name, value in scores.items()} | seconds)
        for row in outputs["result"].trace if outputs["result"] is not None else ():
            self.run.log({f"guidance/{name}": value for name, value in row.items()})
        video = module.case_folder(batch) / "side_by_side.mp4"
        media = wandb.Video(str(video), format="mp4") if video.exists() else None
        if media is not None:
            self.run.log({"side_by_side": media})
        if self.table is None:
            self.table = wandb.Table(["case", "category", "prompt", "video", *scores, "seconds"])
        self.table.add_data(
            record["id"], record["category"], record["prompt"], media, *scores.values(), record["seconds"]["total"]
        )

    def on_test_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, TransferModule)
        assert self.run is not None
        if self.table is not None:
            self.run.log({"cases": self.table})
        means = {f"mean/{name}": row["mean"] for name, row in mean_scores(module.records).items()}
        self.run.summary.update(means | {f"mean_seconds/{k}": v for k, v in mean_seconds(module.records).items()})
        self.close()

    def on_exception(self, *args: Any) -> None:
        """A failed or interrupted run is closed as such."""
        self.close(exit_code=1)

    def close(self, exit_code: int = 0) -> None:
        """End the run, if it began, and leave the environment as it was."""
        if self.run is not None:
            self.run.finish(exit_code=exit_code)
        for name in self.redirected:
            os.environ.pop(name, None)
        self.redirected = []
