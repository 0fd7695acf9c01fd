"""The LightningModule: one test step is one transfer with its scores."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import torch

from fastvmt.backbones.base import Backbone
from fastvmt.cache import TensorCache
from fastvmt.cost.account import CostAccount, peak
from fastvmt.cost.flops import transformer_flops
from fastvmt.cost.nvml import device_uuid, installed_library, open_nvml
from fastvmt.engine.plan import Plan
from fastvmt.methods.transfer import transfer_case
from fastvmt.results.record import Record, case_key, finished, frames_sha256, slug
from fastvmt.score.scores import Scores
from fastvmt.types import PassCounter, TransferCase, TransferResult


class TransferModule(lightning.LightningModule):
    """Owns the method. Backbone and method are plain objects: Lightning neither moves nor saves them."""

    def __init__(self, plan: Plan, backbone: Backbone, scores: Scores, cache: TensorCache, key: str) -> None:
        super().__init__()
        self.plan, self.scores, self.cache, self.key = plan, scores, cache, key
        self.backbone = backbone
        self.nvml, self.no_energy = open_nvml(device_uuid(backbone.device), installed_library())
        self.gpu_at_start = None if self.nvml is None else self.nvml.state()
        self.idle_power_w = self.gpu_at_start and self.gpu_at_start["power_w"]
        """Watts with the weights loaded, before the first case; no energy has it subtracted."""
        self.records: list[Record] = []
        self.load_seconds: float | None = None
        """Weights from disk to device."""
        self.on_step: Callable[[int], None] | None = None
        self.on_iteration: Callable[[dict[str, float]], None] | None = None

    def case_folder(self, case: TransferCase) -> Path:
        """Where a case's files go."""
        return Path(self.plan.cfg.output_dir) / "cases" / slug(case.id)

    def test_step(self, case: TransferCase, index: int) -> dict[str, Any]:
        """Run a case, or take the record of an earlier run. Returns ``record`` and ``result`` (or None)."""
        folder, versions = self.case_folder(case), self.scores.versions
        record = finished(folder, self.key, self.backbone.fingerprint, case, versions)
        result = None
        if record is None:
            result, cost = self.run_transfer(case)
            record = self.record_of(result, cost)
        self.records.append(record)
        return {"record": record, "result": result}

    def run_transfer(self, case: TransferCase) -> tuple[TransferResult, Record]:
        """Generate the case's video; also what that cost."""
        with CostAccount(self.backbone.device, self.nvml, self.no_energy) as account:
            result = transfer_case(
                self.backbone,
                self.plan.method,
                self.plan.sampler,
                case,
                self.cache,
                on_step=self.on_step,
                on_iteration=self.on_iteration,
                watch=account.watch,
            )
        cost = account.report(frames=result.video.size[0])
        cost["transformer_flops"] = transformer_flops(self.plan.layout, result.passes)
        return result, cost

    def record_of(self, result: TransferResult, cost: Record) -> Record:
        """The JSON record of a result, scores included."""
        case = result.case
        start = time.perf_counter()
        scores = self.scores(result)
        cost["seconds"]["metrics"] = time.perf_counter() - start
        return {
            "id": case.id,
            "config": self.key,
            "weights": self.backbone.fingerprint,
            "case": case_key(case),
            "prompt": case.prompt,
            "reference": case.reference_prompt or case.reference.name,
            "category": case.category,
            "seed": case.seed,
            "frames": result.video.size[0],
            "size": list(result.video.size[1:]),
            "fps": result.video.fps,
            "frames_sha256": {"generated": frames_sha256(result.video), "reference": frames_sha256(case.reference)},
            "scores": scores,
            "score_versions": self.scores.versions,
            "vbench_compat": self.scores.vbench_compat,
            "seconds": result.seconds,
            "passes": asdict(result.passes),
            "declared_passes": asdict(self.declared_passes()),
            "cost": cost,
            "reference_cache": {"hits": self.cache.hits, "misses": self.cache.misses},
            "peak_memory_gib": self.peak_memory(cost),
        }

    def declared_passes(self) -> PassCounter:
        """What the method says a transfer costs, the reading of the reference aside."""
        sampler = self.plan.sampler
        return self.plan.method.budget(self.plan.layout, sampler.steps, sampler.cfg_scale)

    def peak_memory(self, cost: Record) -> dict[str, float]:
        """The process' peak resident memory since it started and the case's peak in device tensors, GiB."""
        memory = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
        allocated = peak(cost["memory_gib"], "allocated")
        return memory if allocated is None else memory | {"device": allocated}

    def on_test_epoch_end(self) -> None:
        """Gather the records of all processes."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            gathered: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(gathered, self.records)
            self.records = [record for part in gathered for record in part]
        self.records.sort(key=lambda record: record["id"])
