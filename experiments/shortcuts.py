"""What shortcuts of unguided steps cost and save on tiny-wan, in time and in motion.

``python -m experiments.shortcuts calibrate`` prints MagCache's ratios of a model (``backbone.cache_ratios``), which are
read off plain sampling. ``... measure`` transfers the same cases by every option in turn and writes
``shortcuts.json`` and ``.md``: paired differences of scores to no shortcut, ratios of CPU seconds.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.markdown import Markdown
from torch import Tensor

from experiments import command_line
from experiments.rows import composed, difference
from fastvmt.backbones.base import Backbone
from fastvmt.backbones.shortcuts import Cache, Series, Shortcuts
from fastvmt.cost.cost import WITH_REFERENCE
from fastvmt.engine.session import Session, open_session
from fastvmt.files import write_json
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.provenance import provenance
from fastvmt.sampling import ClassifierFree, euler_step
from fastvmt.schedule import seeded_noise
from fastvmt.settings import Sampler

OPTIONS: dict[str, list[str]] = {
    "none": [],
    "first_block, 0.05": ["backbone.cache=first_block"],
    "first_block, 0.2": ["backbone.cache=first_block", "backbone.cache_threshold=0.2"],
    "taylorseer, 5": ["backbone.cache=taylorseer"],
    "taylorseer, 2": ["backbone.cache=taylorseer", "backbone.cache_interval=2"],
    "mag, 0.06": ["backbone.cache=mag"],
    "batched_cfg": ["sampler.batched_cfg=true"],
    "compile": ["backbone.compile=regional"],
    "negative_every=2": ["sampler.negative_every=2"],
}
"""Overrides by what the table calls them; the last one is no shortcut, for comparison."""
SCORES = ("motion_fidelity", "motion_fidelity_true", "trajectory_cosine", "text_similarity")


class Calibration(Cache):
    """MagCache's own way of measuring: nothing is skipped, and the change of the residual is noted."""

    def config(self, series: Series) -> Any:
        from diffusers.hooks import MagCacheConfig

        return MagCacheConfig(calibrate=True, num_inference_steps=series.steps + 1)  # it forgets after the last


def ratios(backbone: Backbone, sampler: Sampler, prompt: str, seed: int) -> list[list[float]]:
    """Ratios of consecutive steps' residuals in plain sampling: of the passes with the prompt, and of the negative."""
    backbone.shortcuts = Shortcuts(Calibration("mag", ratios=(1.0, 1.0)), compiled=False)
    sigmas = backbone.sigmas(sampler.steps, sampler.shift)
    guided = ClassifierFree(backbone, backbone.embed(""), sampler, range(sampler.steps))
    x: Tensor = seeded_noise(backbone.layout.latent_shape, seed, backbone.device)
    text = backbone.embed(prompt)
    for i in range(sampler.steps):
        x = euler_step(x, guided.velocity(i, x, sigmas[i], text), sigmas[i], sigmas[i + 1])
    last: Any = backbone.blocks[-1].module
    states = last._diffusers_hook.hooks["mag_cache_block_hook"].state_manager._state_cache
    backbone.shortcuts.end()
    return [list(state.calibration_ratios) for state in states.values()]


@torch.no_grad()
def calibrate(words: Sequence[str], seeds: int) -> list[float]:
    """Medians of the ratios over prompts and passes."""
    with open_session(composed(["benchmark=world", f"benchmark.cases={seeds}", "metrics=none", *words])) as session:
        cases = [session.plan.cases[i] for i in range(seeds)]
        found = [
            row for case in cases for row in ratios(session.backbone, session.plan.sampler, case.prompt, case.seed)
        ]
    return [round(statistics.median(step), 4) for step in zip(*found, strict=True)]


def sessions(cases: int, names: Sequence[str]) -> dict[str, Session]:
    """A session for every option, on the same cases."""
    common = ["benchmark=world", "benchmark.seed=11", f"benchmark.cases={cases}", "metrics=fast", "threads=1"]
    common += ["tracker=dis", "cache_dir=null", "device=cpu"]
    return {name: open_session(composed([*common, *OPTIONS[name]])) for name in names}


def measure(cases: int, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every option on every case, taking turns; after each case what is known."""
    opened = sessions(cases, names)
    records: dict[str, list[CaseRecord]] = {name: [] for name in names}
    if "compile" in opened:  # so that its first case does not pay for it
        opened["compile"].transfer_case(opened["compile"].plan.cases[0])
    for i in range(cases):
        for name, session in opened.items():
            records[name].append(session.transfer_case(session.plan.cases[i]).record)
        rows = {name: row(found, records["none"]) for name, found in records.items()}
        yield {"cases": i + 1, "load": os.getloadavg()[0], "threads": 1, "rows": rows}


def row(found: Sequence[CaseRecord], base: Sequence[CaseRecord]) -> dict[str, Any]:
    """What an option is beside none: medians of ratios of seconds, share of blocks, paired differences of scores."""
    cpu = [a.cost.process_cpu_seconds / b.cost.process_cpu_seconds for a, b in zip(found, base, strict=True)]
    wall = [a.cost.seconds[WITH_REFERENCE] / b.cost.seconds[WITH_REFERENCE] for a, b in zip(found, base, strict=True)]
    blocks = sum(a.passes.block_forwards for a in found) / sum(b.passes.block_forwards for b in base)
    scores = {}
    for name in SCORES:
        mean, low, high, n = difference(found, base, name)
        scores[name] = {"mean": mean, "low": low, "high": high, "n": n}
    return {
        "cpu_ratio": statistics.median(cpu),
        "wall_ratio_loop": statistics.median(wall),
        "block_forwards": blocks,
        "scores": scores,
    }


def table(record: dict[str, Any]) -> list[str]:
    """The record as markdown."""
    lines = [
        "# Shortcuts of unguided steps on tiny-wan",
        "",
        f"`method=fastvmt` (6 of 20 steps guided), {record['cases']} cases of the world, {record['threads']} thread, "
        f"{record['hardware']['device']}, load {record['load']:.1f} on {record['hardware']['cpus']} CPUs. CPU: median "
        "ratio of a transfer's CPU seconds to none's. Scores: mean paired difference to none, its 95 % interval "
        "where the cases are enough for one, n.",
        "",
        "| option | CPU | block forwards | " + " | ".join(name.replace("_", " ") for name in SCORES) + " |",
        "|---" * (3 + len(SCORES)) + "|",
    ]
    for name, found in record["rows"].items():
        cells = ["-" if name == "none" else told(score) for score in found["scores"].values()]
        lines.append(f"| {name} | {found['cpu_ratio']:.2f} | {found['block_forwards']:.2f} | {' | '.join(cells)} |")
    return lines


def told(score: dict[str, Any]) -> str:
    """A mean difference, its interval where there are cases enough for one, and their number."""
    known = score["low"] is not None and math.isfinite(score["low"])
    interval = f" ({score['low']:+.3f}..{score['high']:+.3f})" if known else ""
    return f"{score['mean']:+.3f}{interval}, {score['n']}"


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("calibrate", help=calibrate.__doc__)
    first.add_argument("--prompts", type=command_line.count, default=8)
    first.add_argument("overrides", nargs="*", help="of the configuration: backbone=..., sampler.steps=...")
    second = commands.add_parser("measure", help=measure.__doc__)
    command_line.add_results(second)
    second.add_argument("--cases", type=command_line.count, default=12)
    second.add_argument("--options", nargs="+", default=list(OPTIONS), choices=list(OPTIONS))
    arguments = parser.parse_args(words)
    if arguments.command == "calibrate":
        found = calibrate(arguments.overrides, arguments.prompts)
        Console().print(f"backbone.cache_ratios=[{','.join(map(str, found))}]", soft_wrap=True)
        return
    for record in measure(arguments.cases, arguments.options):
        record |= provenance()
        write_json(arguments.results / "shortcuts.json", record)
        lines = "\n".join(table(record))
        (arguments.results / "shortcuts.md").write_text(lines + "\n")
        Console().print(f"case {record['cases']} of {arguments.cases}")
    Console().print(Markdown(lines))


if __name__ == "__main__":
    command_line.run(main)
