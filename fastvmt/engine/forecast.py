"""What a run would cost: passes, FLOPs and memory in closed form, seconds by a short calibration on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

from fastvmt.cost.calibration import Calibration, seconds_of
from fastvmt.cost.flops import transformer_flops
from fastvmt.engine.fit import memory_of, predicted
from fastvmt.engine.plan import Plan
from fastvmt.engine.plan_tables import memory_line
from fastvmt.results.statistics import reference_of
from fastvmt.schedule import sigma_schedule
from fastvmt.terminal import literal_text
from fastvmt.types import PassCounter


@dataclass(frozen=True)
class Forecast:
    """One configuration, before it runs."""

    cases: int
    passes: PassCounter
    """Of one case, without those that read the reference."""
    references: int
    """How often the reference is read: once for all prompts and seeds of a clip, or for each case."""
    reading: PassCounter
    """Of one reading, if nothing of it is kept in ``cache_dir``."""
    flops: Mapping[str, float] | None
    """Of one case's passes; None for an architecture without a closed form."""
    reading_flops: Mapping[str, float] | None
    """Of one reading's."""
    peaks: Mapping[str, float] | None
    """Bytes on the device by stage, see :func:`fastvmt.cost.peaks.peaks`."""
    seconds: float | None
    """Of one case's passes, encoding and decoding left out; None: not calibrated."""
    reading_seconds: float | None
    """Of one reading's."""
    reason: str
    """Why nothing was calibrated; empty otherwise."""

    @property
    def all_seconds(self) -> float | None:
        """Of all cases, one after the other, and of all readings."""
        if self.seconds is None or self.reading_seconds is None:
            return None
        return self.cases * self.seconds + self.references * self.reading_seconds

    @property
    def all_flops(self) -> float | None:
        """Of all cases and readings."""
        if self.flops is None or self.reading_flops is None:
            return None
        return self.cases * self.flops["total"] + self.references * self.reading_flops["total"]


def forecast(plan: Plan, calibration: Calibration | str = "no weights were loaded") -> Forecast:
    """What a plan costs; loads nothing. A ``calibration`` that is a text says why there is none.

    Passes are an upper bound with ``backbone.cache``, and with tuned methods, for which every case counts the tuning.
    """
    layout = plan.layout
    memory = memory_of(plan.cfg)
    passes = plan.method.budget(layout, plan.sampler)
    reading = PassCounter(plan.method.readings(layout, levels(plan)))
    seconds, reading_seconds = None, None
    if isinstance(calibration, Calibration):
        seconds = seconds_of(passes, calibration, layout.grid[0])
        reading_seconds = seconds_of(reading, calibration, layout.grid[0])
    clips = {reference_of(case.id) for case in plan.cases}
    return Forecast(
        cases=len(plan.cases),
        passes=passes,
        references=len(plan.cases) if plan.method.reads_per_case else len(clips),
        reading=reading,
        flops=transformer_flops(layout, passes, memory),
        reading_flops=transformer_flops(layout, reading, memory),
        peaks=predicted(plan),
        seconds=seconds,
        reading_seconds=reading_seconds,
        reason="" if isinstance(calibration, Calibration) else calibration,
    )


def levels(plan: Plan) -> list[float]:
    """Give the noise levels of a plan's denoising by Euler's steps on Wan's schedule.

    CogVideoX and the multistep solvers have schedules of their own, which need what is not loaded here: for them a
    method that reads the reference below ``reference_noise`` may read it at some levels more or less.
    """
    sampler = plan.sampler
    strength = sampler.strength if plan.method.uses_strength else 1.0
    return [*sampler.sigmas, 0.0] if sampler.sigmas else sigma_schedule(sampler.steps, sampler.shift, strength)


def clock(seconds: float) -> str:
    """Seconds in a unit that suits them."""
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours >= 1 else f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


def forecast_table(found: Forecast, kept: int = 0) -> Table:
    """A forecast as it is printed; ``kept`` of its cases are there already."""
    table = Table(title="plan", show_header=False)
    passes = found.passes
    seconds = found.seconds
    every = found.all_seconds
    total = "not known for this architecture"
    if found.flops is not None and found.all_flops is not None:
        one = found.flops["total"] / 1e15
        again = found.flops["recompute"] / 1e15
        total = f"{one:.4g} PFLOP a case, {again:.3g} of it computed again; {found.all_flops / 1e15:.4g} for all"
    rows = {
        "cases": f"{found.cases}, of which {kept} are kept already" if kept else str(found.cases),
        "a case's passes": f"{passes.block_forwards} block forwards, {passes.block_backwards} block backwards, "
        f"{passes.gradients} gradients",
        "reading a reference": f"{found.reading.block_forwards} block forwards, {found.references} times unless kept",
        "arithmetic": total,
        "seconds of the passes": f"not calibrated: {found.reason}"
        if seconds is None or every is None
        else f"{clock(seconds)} a case, {clock(every)} for all, calibrated here",
        "memory, predicted": memory_line(found.peaks),
    }
    for name, value in rows.items():
        table.add_row(name, literal_text(value))
    return table
