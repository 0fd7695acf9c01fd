"""``hydra/sweeper: grid``: Hydra's own sweep over all combinations, and jobs beside them.

Hydra finds the plugins of other packages in ``hydra_plugins`` alone; which jobs there are says :mod:`fastvmt.sweep`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

from fastvmt.sweep import jobs_beside, last_of_each, words_in


class GridSweeper(BasicSweeper):
    """Runs every combination of ``params`` and of what the command line sweeps, then each value of ``beside`` alone."""

    def __init__(
        self,
        max_batch_size: int | None,
        params: Mapping[str, Any] | None = None,
        beside: Sequence[str] | str | None = None,
    ) -> None:
        super().__init__(max_batch_size, dict(params or {}))
        self.words = {name: words_in({name: found}, name) for name, found in (("params", params), ("beside", beside))}

    def split_arguments(  # type: ignore[override]  # Hydra's is static, and is called on the sweeper
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """List the jobs' overrides, in batches. Raises ``HydraException`` for a sweep without steps."""
        grid = super().split_arguments(overrides, None)[0]
        jobs = [*grid, *jobs_beside(last_of_each(overrides), self.words["params"], self.words["beside"])]
        return [list(batch) for batch in self.split_overrides_to_chunks(jobs, max_batch_size)]
