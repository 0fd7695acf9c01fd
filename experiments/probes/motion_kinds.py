"""Which kinds of motion does the guidance's own reading see, and down to which displacement?

``python -m experiments.probes.motion_kinds`` reads held-out world clips exactly as ``method=fastvmt`` reads a
video with the default settings (block, heads, windows, null text) at several noise levels, and compares
the field on the tokens of objects with their true displacement, kind by kind. Cameras:
``experiments/probes/pan_limit.py``.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

import fastvmt
from experiments import command_line
from experiments.probes.motion_oracle import SIGMAS, agreement
from fastvmt.backbones.base import Backbone
from fastvmt.files import write_json
from fastvmt.methods.fastvmt import FastVMT
from fastvmt.methods.reading import read_motion
from fastvmt.motion.pairs import frame_pairs
from fastvmt.results.provenance import provenance
from fastvmt.schedule import add_noise, seeded_noise
from fastvmt.types import TransferCase

CLIPS = ["benchmark=world", "benchmark.categories=[single_object,multi_object,articulated]", "benchmark.seed=100"]
"""Those that settings are searched on."""


def displacement(case: TransferCase, factor: int, frames: int, span: int, token: float) -> float:
    """Mean length, in tokens of ``token`` pixels, of an object point's way between the frames of a pair.

    Over all pairs of the ``frames`` latent frames at most ``span`` apart; a latent frame stands for the
    video's frame ``factor`` times its number.
    """
    assert case.truth is not None
    i, j = (factor * torch.tensor(frame_pairs(frames, span))).T
    ways = (case.truth.tracks_NT2[:, j] - case.truth.tracks_NT2[:, i]).norm(dim=-1)
    return float(ways[case.truth.visible_NT[:, i] & (case.truth.owner_N >= 0)[:, None]].mean()) / token


@torch.no_grad()
def readings(backbone: Backbone, method: FastVMT, case: TransferCase) -> list[float]:
    """Agreement of the field that the method reads with the truth, at every noise level."""
    z = backbone.encode(case.reference)
    null = backbone.embed("")
    noise = seeded_noise(tuple(z.shape), method.guidance.reference_seed, z.device)
    fields = [
        read_motion(backbone, add_noise(z, noise, sigma), sigma, null, method.guidance, method.window)[0]
        for sigma in SIGMAS
    ]
    return [agreement(field, case, backbone.layout.temporal_factor) for field in fields]


def measure(backbone: Backbone, method: FastVMT, cases: list[TransferCase]) -> dict[str, dict[str, Any]]:
    """By kind of motion: clips, mean displacement in tokens, mean agreement per noise level."""
    frames, rows, _ = backbone.layout.grid
    by_kind: dict[str, list[tuple[float, list[float]]]] = {}
    for case in track(cases, "clips"):
        way = displacement(
            case, backbone.layout.temporal_factor, frames, method.window.sf, backbone.layout.height / rows
        )
        by_kind.setdefault(case.id.split("-", 2)[2], []).append((way, readings(backbone, method, case)))
    return {
        kind: {
            "clips": len(found),
            "displacement": float(np.mean([way for way, _ in found])),
            "cosine": np.mean([values for _, values in found], 0).tolist(),
        }
        for kind, found in sorted(by_kind.items())
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cases", type=command_line.count, default=90, help="clips, a third of them per category; default 90"
    )
    command_line.add_results(parser)
    arguments = parser.parse_args()
    cases = f"benchmark.cases={arguments.cases}"
    with fastvmt.open(["method=fastvmt", "metrics=none", *CLIPS, cases]) as session:
        benchmark = session.plan.cases
        kinds = measure(session.backbone, session.plan.method, [benchmark[i] for i in range(len(benchmark))])
        weights = session.backbone.fingerprint
    title = "cosine of the field that is read and the true motion of objects, by noise level"
    table = Table(Column("motion", no_wrap=True, min_width=18), "clips", "tokens", *map(str, SIGMAS), title=title)
    for kind, row in kinds.items():
        table.add_row(kind, str(row["clips"]), f"{row['displacement']:.2f}", *(f"{v:.2f}" for v in row["cosine"]))
    Console().print(table)
    facts = {"sigmas": SIGMAS, "weights": weights, "kinds": kinds}
    write_json(arguments.results / "motion_kinds.json", facts | provenance())


if __name__ == "__main__":
    command_line.run(main)
