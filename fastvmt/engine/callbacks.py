"""Everything that writes files: videos, motion pictures, traces, records."""

from __future__ import annotations

import csv
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
from omegaconf import OmegaConf
from safetensors.torch import save_file

from fastvmt.data.panel import side_by_side
from fastvmt.data.video import write_video
from fastvmt.engine.module import TransferModule
from fastvmt.engine.motion_plot import plot_motion
from fastvmt.results.record import cost_summaries, mean_scores, mean_seconds, provenance, write_json
from fastvmt.types import TransferResult, Video

TRACE_COLUMNS = ("step", "sigma", "iteration", "loss", "grad_norm", "reused")
LOSSLESS, LOSSLESS_REFERENCE = "generated_lossless.mp4", "reference_lossless.mp4"
VIEW_SIDE = 384
"""Small videos are enlarged to about this height, so that players show more than a stamp."""


class CaseFiles(lightning.Callback):
    """Per case: videos, motion picture, trace, what was learned, and last the record that marks it finished."""

    def on_test_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        assert isinstance(module, TransferModule)
        result: TransferResult | None = outputs["result"]
        if result is None:
            return
        start = time.perf_counter()
        folder = module.case_folder(result.case)
        folder.mkdir(parents=True, exist_ok=True)
        tags = {"config_hash": module.key, "backbone": module.backbone.name}
        self.videos(folder, result, tags, module.plan.cfg.lossless)
        plot_motion(folder / "motion.png", module.backbone, result, module.plan.guidance, module.plan.window)
        self.trace(folder / "trace.csv", result.trace)
        if result.learned:
            save_file(result.learned, folder / "learned.safetensors")
        outputs["record"]["cost"]["seconds"]["save"] = time.perf_counter() - start
        write_json(folder / "case.json", outputs["record"])

    def videos(self, folder: Path, result: TransferResult, known: dict[str, str], lossless: bool) -> None:
        """``reference.mp4``, ``generated.mp4`` (once more without loss, if asked for) and both beside each other."""
        case = result.case
        tags = {"comment": "AI-generated", "title": case.prompt, "generator": "fastvmt"} | known
        reference = Video(case.reference.frames_THWC, case.reference.fps, "reference")
        generated = Video(result.video.frames_THWC, result.video.fps, case.prompt)
        scale = max(1, VIEW_SIDE // case.reference.size[1])
        write_video(folder / "reference.mp4", reference, known, scale=scale)
        write_video(folder / "generated.mp4", generated, tags, scale=scale)
        if lossless:
            write_video(folder / LOSSLESS, generated, tags, lossless=True)
            write_video(folder / LOSSLESS_REFERENCE, reference, known, lossless=True)
        write_video(folder / "side_by_side.mp4", side_by_side([reference, generated]), tags, scale=scale)

    def trace(self, path: Path, rows: list[dict[str, float]]) -> None:
        """Loss, gradient norm and reuse per inner iteration, and what the method adds."""
        with path.open("w", newline="") as stream:
            columns = dict.fromkeys(TRACE_COLUMNS) | dict.fromkeys(name for row in rows for name in row)
            writer = csv.DictWriter(stream, list(columns))
            writer.writeheader()
            writer.writerows(rows)


class RunFile(lightning.Callback):
    """``result.json``: means over cases, every case, and where it all came from."""

    def on_test_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, TransferModule)
        if not trainer.is_global_zero:
            return
        cfg = module.plan.cfg
        content = {
            "scores": mean_scores(module.records),
            "seconds": mean_seconds(module.records),
            "costs": {name: asdict(row) for name, row in cost_summaries(module.records).items()},
            "gpu_at_start": module.gpu_at_start,
            "idle_power_w": module.idle_power_w,
            "load_seconds": module.load_seconds,
            "lost": [asdict(lost) for lost in module.plan.cases.lost],
            "metrics": module.scores.provenance(),
            "cases": module.records,
            "method": module.plan.method.name,
            "backbone": {"name": module.backbone.name, "weights_sha256": module.backbone.fingerprint},
            "config_hash": module.key,
            "config": OmegaConf.to_container(cfg, resolve=True, enum_to_str=True),
            **provenance(module.nvml),
        }
        write_json(Path(cfg.output_dir) / "result.json", content)
