"""Cases as Lightning sees them."""

from __future__ import annotations

import lightning
import torch
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import DataLoader, Sampler

from fastvmt.benchmarks import Benchmark
from fastvmt.types import TransferCase


class CaseData(lightning.LightningDataModule):
    """One case per step; with several processes each case runs exactly once."""

    def __init__(self, cases: Benchmark) -> None:
        super().__init__()
        self.cases = cases

    def test_dataloader(self) -> DataLoader[TransferCase]:
        sampler: Sampler[int] | None = None
        trainer = self.trainer
        if trainer is not None and trainer.world_size > 1:
            sampler = UnrepeatedDistributedSampler(
                self.cases, num_replicas=trainer.world_size, rank=trainer.global_rank, shuffle=False
            )
        return DataLoader(self.cases, batch_size=None, sampler=sampler)  # type: ignore[arg-type]

    def transfer_batch_to_device(self, batch: TransferCase, device: torch.device, dataloader_idx: int) -> TransferCase:
        """Cases stay in host memory; the backbone moves what it needs."""
        return batch
