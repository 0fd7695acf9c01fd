"""Progress bars: cases, denoising steps, inner iterations."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fastvmt.engine.callback import Outcome, RunCallback
from fastvmt.engine.plan import Plan


class CaseProgress(RunCallback):
    """Three bars with counts and the remaining time; steps and iterations are told by the transfer."""

    def __init__(self, console: Console, plan: Plan) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bars = Progress(*columns, TimeRemainingColumn(), console=console)
        steps = plan.sampler.steps
        inner = plan.method.inner_iterations(steps)
        self.cases = self.bars.add_task("cases", total=len(plan.cases))
        self.steps = self.bars.add_task("denoising steps", total=steps)
        self.inner = self.bars.add_task("inner iterations", total=inner, visible=inner > 0)

    def on_step(self, step: int) -> None:
        """Count a denoising step."""
        self.bars.update(self.steps, completed=step + 1)

    def on_iteration(self, row: dict[str, float]) -> None:
        """Count an inner iteration."""
        self.bars.advance(self.inner)

    def begin(self, main_process: bool) -> None:
        """Show the bars, in one process."""
        if main_process:
            self.bars.start()

    def case_begins(self) -> None:
        """Start the bars of a case anew."""
        self.bars.reset(self.steps)
        self.bars.reset(self.inner)

    def case_ends(self, outcome: Outcome) -> None:
        """Count a case."""
        self.bars.advance(self.cases)

    def end(self, outcomes: object) -> None:
        """Leave the bars as they are."""
        self.bars.stop()

    def stop(self, exit_code: int) -> None:
        """Leave the bars as they are."""
        self.bars.stop()
