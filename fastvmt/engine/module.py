"""The LightningModule: one test step is one transfer with its scores."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import torch

from fastvmt.backbones.base import Backbone
from fastvmt.cache import TensorCache
from fastvmt.case import run_case
from fastvmt.engine.plan import Plan
from fastvmt.engine.record import Record, finished, slug
from fastvmt.scores import Scores
from fastvmt.types import PassCounter, TransferCase, TransferResult


class TransferModule(lightning.LightningModule):
    """Owns the method. Backbone and method are plain objects: Lightning neither moves nor saves them."""

    def __init__(self, plan: Plan, backbone: Backbone, scores: Scores, cache: TensorCache, key: str) -> None:
        super().__init__()
        self.plan, self.scores, self.cache, self.key = plan, scores, cache, key
        self.backbone = backbone
        self.records: list[Record] = []
        self.on_step: Callable[[int], None] | None = None
        self.on_iteration: Callable[[dict[str, float]], None] | None = None

    def case_folder(self, case: TransferCase) -> Path:
        """Where a case's files go."""
        return Path(self.plan.cfg.output_dir) / "cases" / slug(case.id)

    def test_step(self, case: TransferCase, index: int) -> dict[str, Any]:
        """Run a case, or take the record of an earlier run. Returns ``record`` and ``result`` (or None)."""
        record = finished(self.case_folder(case), self.key)
        result = None
        if record is None:
            result = self.run_transfer(case)
            record = self.record_of(result)
        self.records.append(record)
        return {"record": record, "result": result}

    def run_transfer(self, case: TransferCase) -> TransferResult:
        """Generate the case's video."""
        return run_case(
            self.backbone, self.plan.method, self.plan.sampler, case, self.cache,
            on_step=self.on_step, on_iteration=self.on_iteration,
        )  # fmt: skip

    def record_of(self, result: TransferResult) -> Record:
        """The JSON record of a result, scores included."""
        case = result.case
        return {
            "id": case.id,
            "config": self.key,
            "prompt": case.prompt,
            "reference": case.reference_prompt or case.reference.name,
            "category": case.category,
            "seed": case.seed,
            "scores": self.scores(result),
            "seconds": result.seconds,
            "passes": asdict(result.passes),
            "declared_passes": asdict(self.declared_passes()),
            "reference_cache": {"hits": self.cache.hits, "misses": self.cache.misses},
            "peak_memory_gib": self.peak_memory(),
        }

    def declared_passes(self) -> PassCounter:
        """What the method says a transfer costs, the reading of the reference aside."""
        sampler = self.plan.sampler
        return self.plan.method.budget(self.plan.layout, sampler.steps, sampler.cfg_scale)

    def peak_memory(self) -> dict[str, float]:
        """Peak allocated device memory, and the process' peak resident memory, in GiB."""
        memory = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
        if self.backbone.device.type == "cuda":
            memory["device"] = torch.cuda.max_memory_allocated(self.backbone.device) / 2**30
        return memory

    def on_test_epoch_end(self) -> None:
        """Gather the records of all processes."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            gathered: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(gathered, self.records)
            self.records = [record for part in gathered for record in part]
        self.records.sort(key=lambda record: record["id"])
