"""What timed a case: seconds of several machines are not averaged, and those of a busy one are none of a method's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fastvmt.cost.contention import starved
from fastvmt.cost.cost import loop
from fastvmt.results.case_record import CaseRecord


def kind_of(record: CaseRecord) -> str:
    """Name the kind of device that computed: ``cpu`` or ``cuda``."""
    return record.device.partition(":")[0]


def machine(record: CaseRecord) -> tuple[str, str, int]:
    """What seconds depend on beside the method: hardware, the kind of device that computes, threads."""
    return record.maker["hardware"], kind_of(record), record.cost.threads


def contended(record: CaseRecord) -> bool:
    """Whether wall seconds are none of the method's: others wanted the machine, or kept the process from it."""
    loops = loop(record.seconds), loop(record.cost.cpu_seconds)
    return record.cost.contended or (kind_of(record) == "cpu" and starved(*loops))


def machines(*rows: Sequence[CaseRecord]) -> Counter[tuple[str, str, int]]:
    """Count the cases of rows by the machine that timed them; other systems' were not timed."""
    return Counter(
        machine(record) for records in rows for record in records if record.diverged is None and record.seconds
    )


def machine_words(found: Counter[tuple[str, str, int]]) -> str:
    """Write machines with the number of their cases."""
    each = (f"{hardware} ({device}) with {threads} threads ({n})" for (hardware, device, threads), n in found.items())
    return ", ".join(each)
