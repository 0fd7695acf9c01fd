"""The columns of a table: scores, and what a transfer cost, by case id."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from fastvmt.cost.cost import loop
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.columns import healthy, score_column
from fastvmt.results.machines import contended, kind_of, machine, machines
from fastvmt.stopwatch import KEPT

Column = dict[str, float]
"""Values by case id; NaN is missing."""
CONTENDED = "others wanted the machine at the same time"


def loop_seconds(record: CaseRecord) -> float:
    """Wall seconds of the loop, on a GPU the device's; NaN where they are none of the method's."""
    return math.nan if contended(record) else loop(record.seconds)


def loop_work(record: CaseRecord) -> float:
    """Seconds that compare methods: of CPU, which hold on a busy machine too, or of the GPU."""
    return loop(record.cost.cpu_seconds) if record.device == "cpu" else loop(record.seconds)


def reference_seconds(record: CaseRecord) -> float:
    """Seconds of reading the reference, also of what the cache had: of CPU where that computes, else of the GPU.

    NaN where nothing was read, and for records that do not tell what the cache had.
    """
    own = record.cost.cpu_seconds if record.device == "cpu" else record.seconds
    return own["reference"] + record.seconds.get(KEPT, math.nan) if "reference" in own else math.nan


def tuning_seconds(record: CaseRecord) -> float:
    """Seconds of training on the reference; NaN for a case that took what another had trained."""
    return record.seconds.get("tune", math.nan)


def gradients(record: CaseRecord) -> float:
    """Gradients through the transformer; NaN for a video that another system made, whose passes nobody counted."""
    return float(record.passes.gradients) if record.passes.block_forwards else math.nan


def tera_operations(record: CaseRecord) -> float:
    """Floating point operations of the transformer, 1e12; NaN for an architecture without a closed form."""
    flops = record.cost.transformer_flops
    return math.nan if flops is None else flops["total"] / 1e12


COSTS: dict[str, Callable[[CaseRecord], float]] = {
    "gradients": gradients,
    "transformer_tflop": tera_operations,
    "loop_seconds": loop_seconds,
    "loop_cpu_seconds": lambda record: loop(record.cost.cpu_seconds),
    "reference_seconds": reference_seconds,
    "tuning_seconds": tuning_seconds,
}
"""Of one case. Beside them: ``loop_ratio``, the loop's seconds over those of the base row's same case on the same
machine with as many threads, of CPU where that computes; and ``diverged``, the share of cases, which count in no other
column."""
SECONDS = ("loop_seconds", "loop_cpu_seconds", "reference_seconds", "tuning_seconds")
"""Costs that hold for one machine: n/a in a row that was timed, together with the base row, on several."""
DRIFT = 0.15
"""How far loop ratios of equal work lie apart where others wanted the machine: 0.12 was seen between two sittings."""
RATIO = "loop_ratio"
DIVERGED = "diverged"
KNOWN = (*COSTS, RATIO, DIVERGED)


def column(records: Sequence[CaseRecord], name: str, base: Sequence[CaseRecord]) -> Column:
    """Give a score or a cost by case id; ``base`` are the records of the row that others are compared with."""
    if name == DIVERGED:
        return {record.id: float(record.diverged is not None) for record in records}
    if name == RATIO:
        return ratios(healthy(records), healthy(base))
    if name in SECONDS and len(machines(records, base)) > 1:
        return {record.id: math.nan for record in healthy(records)}
    if name in COSTS:
        return {record.id: COSTS[name](record) for record in healthy(records)}
    return score_column(records, name)


def ratios(records: Sequence[CaseRecord], base: Sequence[CaseRecord]) -> Column:
    """Divide the loops of cases by those of the same cases in ``base``, where the same machine made both.

    NaN for all where some pairs are of CPUs and others of GPUs: neither time stands for the other.
    """
    theirs = {record.id: record for record in base}
    pairs = {record.id: (record, theirs.get(record.id)) for record in records}
    made_alike = {
        name: (record, other)
        for name, (record, other) in pairs.items()
        if other is not None and machine(record) == machine(other)
    }
    kinds = {kind_of(record) for record, _ in made_alike.values()}
    found = dict.fromkeys(pairs, math.nan)
    if len(kinds) == 1:
        found |= {name: loop_work(record) / loop_work(other) for name, (record, other) in made_alike.items()}
    return found


def known_columns(records: Sequence[CaseRecord]) -> list[str]:
    """List the scores that the records have, and the costs."""
    return [*dict.fromkeys(name for record in records for name in record.scores), *KNOWN]
