"""What watches a run: callbacks that are told of cases with their types, and only read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning

from fastvmt.results.case_record import CaseRecord
from fastvmt.results.folder import CaseFolder
from fastvmt.stopping import Stopped


@dataclass(frozen=True)
class Outcome:
    """A case that is through; its files are written."""

    record: CaseRecord
    folder: CaseFolder


class RunCallback(lightning.Callback):
    """Lightning's hooks, narrowed to what a run has: a case per batch.

    None reads what another one writes; W&B's comes last, so that what users' callbacks log is in its run.
    """

    def begin(self, main_process: bool) -> None:
        """Hear that the cases begin."""

    def case_begins(self) -> None:
        """Hear that a case begins."""

    def case_ends(self, outcome: Outcome) -> None:
        """Hear what came of a case."""

    def end(self, outcomes: Sequence[Outcome]) -> None:
        """Hear that all cases are through; ``outcomes`` are those of all processes."""

    def stop(self, exit_code: int) -> None:
        """Hear that an error or a signal ends the run, and with what exit code."""

    def on_test_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """See Lightning."""
        self.begin(trainer.is_global_zero)

    def on_test_batch_start(self, *_: Any) -> None:
        """See Lightning."""
        self.case_begins()

    def on_test_batch_end(self, trainer: lightning.Trainer, module: Any, outputs: Any, *_: Any) -> None:
        """See Lightning."""
        self.case_ends(outputs["outcome"])

    def on_test_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """See Lightning."""
        self.end(module.outcomes)

    def on_exception(self, trainer: lightning.Trainer, module: Any, exception: BaseException) -> None:
        """See Lightning."""
        self.stop(exception.code if isinstance(exception, Stopped) and isinstance(exception.code, int) else 1)
