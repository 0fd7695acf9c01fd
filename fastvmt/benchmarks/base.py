"""What a benchmark is: its cases, and those that it had to leave out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastvmt.types import TransferCase


@dataclass(frozen=True)
class Lost:
    """A reference that cannot be used."""

    reference: str
    cases: int
    """How many cases go with it."""
    reason: str


class Benchmark(ABC):
    """Cases by index, made when they are asked for."""

    lost: tuple[Lost, ...] = ()
    attribution: Mapping[str, Any] = {}
    """What results say of where the clips come from, and under which licence."""
    own_seeds: tuple[int, ...] = (0,)
    """Which it adds to the start seed for one and the same reference and prompt."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of cases."""

    @abstractmethod
    def __getitem__(self, index: int) -> TransferCase:
        """A case. Raises ``IndexError`` outside 0 .. len - 1."""

    @abstractmethod
    def texts(self) -> list[str]:
        """All that the cases want embedded, without reading a clip: prompts, negative ones, captions, the empty one."""

    def __iter__(self) -> Iterator[TransferCase]:
        return (self[index] for index in range(len(self)))
