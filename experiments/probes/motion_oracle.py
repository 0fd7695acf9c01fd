"""Where does motion live? Attention motion flow against true object motion, per block and noise level.

``python -m experiments.probes.motion_oracle`` reads the dense flow of held-out world clips (null text) and
prints the mean cosine between the flow on the moving object's tokens and its true displacement.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from experiments import command_line
from experiments.embedded import embedded
from fastvmt.backbones.base import Backbone
from fastvmt.benchmarks import WorldBenchmark
from fastvmt.files import write_json
from fastvmt.methods.reading import read_motion
from fastvmt.schedule import add_noise, seeded_noise
from fastvmt.settings import Guidance, HeadReduce, Window
from fastvmt.types import MotionField, TransferCase

SIGMAS = (0.1, 0.3, 0.5, 0.7, 0.85, 0.94)


def agreement(field: MotionField, case: TransferCase, factor: int) -> float:
    """Cosine of flow and truth over the object's tokens, all pairs concatenated."""
    assert case.truth is not None
    _, height, width = field.grid
    token = case.reference.size[1] / height
    found, true = [], []
    for pair, (i, j) in enumerate(field.pairs):
        a, b = case.truth.tracks_NT2[:, i * factor], case.truth.tracks_NT2[:, j * factor]
        seen = case.truth.visible_NT[:, i * factor] & (case.truth.owner_N >= 0)
        column, row = (a[seen] / token).long().clamp(0, height - 1).unbind(-1)
        found.append(field.flow_PS2[pair].reshape(height, width, 2)[row, column].flip(-1))
        true.append((b - a)[seen] / token)
    x, y = torch.cat(found).flatten(), torch.cat(true).flatten()
    return float(torch.nn.functional.cosine_similarity(x, y, dim=0))


@torch.no_grad()
def measure(backbone: Backbone, cases: list[TransferCase], block: int, sigma: float, how: tuple) -> float:
    """Mean agreement over cases."""
    rope, heads, tau = how
    guidance = Guidance(block=block, rope=rope, head_reduce=heads)
    null: Tensor = backbone.embed("")
    values = []
    for case in cases:
        z = backbone.encode(case.reference)
        noisy = add_noise(z, seeded_noise(tuple(z.shape), 1234, z.device), sigma)
        field, _ = read_motion(backbone, noisy, sigma, null, guidance, Window(l=0, sf=2, tau=tau))
        values.append(agreement(field, case, backbone.layout.temporal_factor))
    return float(np.mean(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny-wan")
    parser.add_argument("--cases", type=command_line.count, default=12)
    parser.add_argument("--blocks", type=int, nargs="+", default=None, help="default: all")
    parser.add_argument("--taus", type=float, nargs="+", default=[1.0, 4.0, 16.0])
    command_line.add_results(parser)
    arguments = parser.parse_args()
    backbone = embedded(arguments.model)
    benchmark = WorldBenchmark(
        backbone.layout.clip, 8, 0, cases=arguments.cases, categories=["single_object", "multi_object"], seed=100
    )
    cases = [benchmark[i] for i in range(len(benchmark))]
    table = Table(title="cosine of attention motion flow and true object motion")
    for column in ("block", "rope", "heads", "tau", *map(str, SIGMAS)):
        table.add_column(column)
    rows = []
    blocks = arguments.blocks or range(backbone.layout.depth)
    for block, rope, heads, tau in product(blocks, (False, True), HeadReduce, arguments.taus):
        values = [measure(backbone, cases, block, sigma, (rope, heads, tau)) for sigma in SIGMAS]
        rows.append({"block": block, "rope": rope, "heads": heads.value, "tau": tau, "cosine": values})
        table.add_row(str(block), str(rope), heads.value, str(tau), *(f"{v:.2f}" for v in values))
    Console().print(table)
    write_json(arguments.results / "motion_oracle.json", {"sigmas": SIGMAS, "rows": rows})


if __name__ == "__main__":
    command_line.run(main)
