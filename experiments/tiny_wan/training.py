"""What the three trainings share: optimisers, averaged weights, checkpoints, progress, log."""

from __future__ import annotations

import ctypes
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn


def keep_freed_pages() -> None:
    """Tell glibc to keep freed memory: CPU training otherwise spends most of its time in page faults."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        for option, value in ((-3, 1 << 30), (-1, 1 << 30), (-2, 1 << 28)):  # MMAP, TRIM, TOP_PAD
            libc.mallopt(option, value)


@dataclass
class Optimizers:
    """Muon on the hidden weight matrices and convolution kernels, AdamW on everything else."""

    muon_lr: float
    adam_lr: float
    model: nn.Module
    adam_names: tuple[str, ...] = ()
    """Parameters whose name contains one of these stay with AdamW (inputs, outputs, embeddings)."""
    weight_decay: float = 0.0
    _pairs: list[tuple[nn.Parameter, nn.Parameter]] = field(default_factory=list)

    def __post_init__(self) -> None:
        matrices, others = [], []
        for name, p in self.model.named_parameters():
            is_matrix = p.ndim >= 2 and min(p.shape[0], p.numel() // p.shape[0]) > 1
            if is_matrix and not any(part in name for part in self.adam_names):
                flat = nn.Parameter(p.data.view(p.shape[0], -1))  # shares the storage: Muon wants 2-D
                self._pairs.append((p, flat))
                matrices.append(flat)
            else:
                others.append(p)
        self.muon = torch.optim.Muon(matrices, lr=self.muon_lr, weight_decay=self.weight_decay, momentum=0.95)
        self.adam = torch.optim.AdamW(others, lr=self.adam_lr, betas=(0.9, 0.98), weight_decay=self.weight_decay)

    def step(self, scale: float) -> float:
        """Clip, step and clear; ``scale`` multiplies both learning rates. Returns the gradient norm."""
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), 1.0))
        if not math.isfinite(norm):
            raise FloatingPointError("the gradient is not finite: lower muon_lr or adam_lr")
        for p, flat in self._pairs:
            flat.grad = None if p.grad is None else p.grad.view_as(flat)
        for optimizer, lr in ((self.muon, self.muon_lr), (self.adam, self.adam_lr)):
            for group in optimizer.param_groups:
                group["lr"] = lr * scale
            optimizer.step()
        self.model.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> dict[str, object]:
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, dict[str, object]]) -> None:
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


class Training:
    """A training of a fixed number of steps that can be stopped and resumed at any time.

    Learning rate: a warm-up over the first ``warmup`` fraction of the steps, constant, then linear
    to zero over the last ``cooldown`` fraction.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Optimizers,
        folder: Path,
        *,
        steps: int,
        ema: float,
        save_every: float = 120.0,
        warmup: float = 0.01,
        cooldown: float = 0.4,
    ) -> None:
        self.model = model
        self.optimizers = optimizers
        self.folder = folder
        self.budget = steps
        self.ema_decay = ema
        self.save_every = save_every
        self.warmup = warmup
        self.cooldown = cooldown
        self.step_count = 0
        self.seconds = 0.0
        self.averaged = deepcopy(model).eval().requires_grad_(False)
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._load()

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def progress(self) -> float:
        """Fraction of the steps that is done, in [0, 1]."""
        return min(1.0, self.step_count / self.budget)

    def lr_scale(self) -> float:
        p = self.progress
        return min(1.0, (p + 1e-4) / self.warmup, max(0.0, (1.0 - p) / self.cooldown))

    def steps(self) -> Iterator[int]:
        """Yield the remaining step numbers; seconds are counted between yields."""
        bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        saved = self.seconds
        with bar:
            task = bar.add_task(self.folder.name, total=self.budget, completed=self.step_count)
            while self.step_count < self.budget:
                start = time.perf_counter()
                yield self.step_count
                self.step_count += 1
                self.seconds += time.perf_counter() - start
                bar.update(task, completed=self.step_count)
                if self.seconds - saved > self.save_every:
                    self.save()
                    saved = self.seconds
        self.save()

    def update(self, loss: Tensor, **scalars: float) -> None:
        """Backward, optimiser step, average, and a log line every 20 steps."""
        loss.backward()
        norm = self.optimizers.step(self.lr_scale())
        decay = min(self.ema_decay, (1 + self.step_count) / (10 + self.step_count))
        with torch.no_grad():
            for mean, p in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(p, 1 - decay)
        if self.step_count % 20 == 0:
            row = {"step": self.step_count, "seconds": round(self.seconds, 1), "loss": loss.item(), "norm": norm}
            with self.log.open("a") as log:
                log.write(json.dumps(row | scalars) + "\n")

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "step": self.step_count,
            "seconds": self.seconds,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)

    def _load(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True, map_location="cpu")
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizers.load_state_dict(state["optimizers"])
        self.step_count = state["step"]
        self.seconds = state["seconds"]
        if self.log.exists():  # steps after the checkpoint are done, and logged, again
            rows = self.log.read_text().splitlines(keepends=True)
            self.log.write_text("".join(row for row in rows if json.loads(row)["step"] < self.step_count))
