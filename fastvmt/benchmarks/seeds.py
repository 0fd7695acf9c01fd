"""Cases of a benchmark, each with several seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from fastvmt.benchmarks.base import Benchmark
from fastvmt.settings import check, check_seed
from fastvmt.types import TransferCase


class Seeds(Benchmark):
    """The cases of one benchmark made with several start seeds; a case's seeds follow each other.

    Ids end in ``/s<seed>``, over which tables average.
    """

    def __init__(self, benchmarks: Mapping[int, Benchmark]) -> None:
        """``benchmarks`` are the same one by start seed. Raises ``ValueError`` for seeds that meet."""
        self.seeds = list(benchmarks)
        self.benchmarks = list(benchmarks.values())
        self.lost = self.benchmarks[0].lost
        self.attribution = self.benchmarks[0].attribution
        self.own_seeds = self.benchmarks[0].own_seeds
        sums = {own + seed for own in self.own_seeds for seed in self.seeds}
        apart = f"such that their sums with the benchmark's own, {list(self.own_seeds)}, all differ"
        check(len(sums) == len(self.own_seeds) * len(self.seeds), "seeds", self.seeds, apart)

    def __len__(self) -> int:
        return sum(map(len, self.benchmarks))

    def __getitem__(self, index: int) -> TransferCase:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, which = divmod(index, len(self.seeds))
        case = self.benchmarks[which][number]
        named = re.search(r"/s\d+$", case.id)  # by a benchmark with seeds of its own
        return case if named else replace(case, id=f"{case.id}/s{self.seeds[which]}")

    def texts(self) -> list[str]:
        return self.benchmarks[0].texts()


def check_seeds(seeds: object) -> None:
    """Raise ``ValueError`` unless ``seeds`` is a list of different seeds, or None."""
    if seeds is None:
        return
    values = list(seeds) if isinstance(seeds, list) else []
    check(bool(values) and len(set(values)) == len(values), "seeds", seeds, "null or a list of different whole numbers")
    for seed in values:
        check_seed("seeds", seed)
