"""Cases as Lightning sees them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sized
from datetime import timedelta

import lightning
import torch
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import DataLoader, Sampler, SequentialSampler

from fastvmt.benchmarks import Benchmark
from fastvmt.types import TransferCase


class Timely(Sampler[int]):
    """The indices of another sampler, until a time is over."""

    def __init__(self, indices: Sampler[int], limit: timedelta | None) -> None:
        self.indices = indices
        self.limit = None if limit is None else limit.total_seconds()
        self.cut = False
        """Whether the limit has kept an index back."""

    def __len__(self) -> int:
        assert isinstance(self.indices, Sized)
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        start = time.monotonic()
        for index in self.indices:
            if self.limit is not None and time.monotonic() - start >= self.limit:
                self.cut = True
                return
            yield index


class CaseData(lightning.LightningDataModule):
    """One case per step; with several processes each case runs exactly once.

    No case begins when ``limit`` has passed since the first one's begin.
    """

    def __init__(self, cases: Benchmark, limit: timedelta | None = None) -> None:
        super().__init__()
        self.cases = cases
        self.limit = limit
        self.sampler: Timely | None = None

    @property
    def cut(self) -> bool:
        """Whether the limit has kept cases of this process from beginning."""
        return self.sampler is not None and self.sampler.cut

    def test_dataloader(self) -> DataLoader[TransferCase]:
        indices: Sampler[int] = SequentialSampler(self.cases)
        trainer = self.trainer
        if trainer is not None and trainer.world_size > 1:
            indices = UnrepeatedDistributedSampler(
                self.cases, num_replicas=trainer.world_size, rank=trainer.global_rank, shuffle=False
            )
        self.sampler = Timely(indices, self.limit)
        return DataLoader(self.cases, batch_size=None, sampler=self.sampler)  # type: ignore[arg-type]

    def transfer_batch_to_device(self, batch: TransferCase, device: torch.device, dataloader_idx: int) -> TransferCase:
        """Cases stay in host memory; the backbone moves what it needs."""
        return batch
