"""Progress bars: cases, denoising steps, inner iterations."""

from __future__ import annotations

from typing import Any

import lightning
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fastvmt.engine.module import TransferModule


class CaseProgress(lightning.Callback):
    """Three bars with counts and the remaining time."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def on_test_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, TransferModule)
        steps, method = module.plan.sampler.steps, module.plan.method
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bars = Progress(*columns, TimeRemainingColumn(), console=self.console, disable=not trainer.is_global_zero)
        self.cases = self.bars.add_task("cases", total=len(module.plan.cases))
        self.steps = self.bars.add_task("denoising steps", total=steps)
        inner = method.inner_iterations(steps)
        self.inner = self.bars.add_task("inner iterations", total=inner, visible=inner > 0)
        module.on_step = lambda step: self.bars.update(self.steps, completed=step + 1)
        module.on_iteration = lambda row: self.bars.advance(self.inner)
        self.bars.start()

    def on_test_batch_start(self, *args: Any) -> None:
        self.bars.reset(self.steps)
        self.bars.reset(self.inner)

    def on_test_batch_end(self, *args: Any) -> None:
        self.bars.advance(self.cases)

    def on_test_end(self, *args: Any) -> None:
        self.bars.stop()

    def on_exception(self, *args: Any) -> None:
        self.bars.stop()
