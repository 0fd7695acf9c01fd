"""What each saving is worth: ``python -m experiments.cost`` times variants of one transfer in one run.

Ratios to the default: without gradient reuse, with a forward through all blocks, with dense flow,
and plain text-to-video. Writes ``experiments/results/cost.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fastvmt.backbones.wan import WanBackbone
from fastvmt.benchmarks import WorldBenchmark
from fastvmt.cache import TensorCache
from fastvmt.compose import composed
from fastvmt.engine.plan import make_plan
from fastvmt.methods.transfer import transfer_case
from fastvmt.results.provenance import provenance


class FullDepth(WanBackbone):
    """Reads queries and keys with hooks on a forward through every block."""

    def query_key(
        self, latents_BCFHW: Tensor, sigma: float, text: Tensor, block: int, rope: bool
    ) -> tuple[Tensor, Tensor]:
        kept: dict[str, Tensor] = {}
        attn = self.transformer.blocks[block].attn1
        hooks = [
            norm.register_forward_hook(lambda _module, _input, out, key=key: kept.__setitem__(key, out))
            for key, norm in (("q", attn.norm_q), ("k", attn.norm_k))
        ]
        try:
            self.velocity(latents_BCFHW, sigma, text)
        finally:
            for hook in hooks:
                hook.remove()
        heads = attn.heads
        frames = self.layout.grid[0]
        q, k = (kept[key][0].unflatten(-1, (heads, -1)).unflatten(0, (frames, -1)) for key in ("q", "k"))
        self.count_backward(q, block)
        return q, k


VARIANTS = {
    "default": [],
    "skip.delta=1": ["skip.delta=1"],
    "full-depth forward": [],
    "dense flow": ["window.l=0"],
    "none": ["method=none"],
}
"""Name -> overrides of the backbone's defaults."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    size = {"frames": 9, "height": 96, "width": 96, "fps": 8.0, "max_tokens": 16, "dtype": "float32"}
    fast, full = (kind("tiny-wan", name="tiny-wan", **size) for kind in (WanBackbone, FullDepth))
    case = WorldBenchmark(fast.layout.clip, 8, 0, cases=1, categories=["single_object"], seed=4)[0]
    plans = {name: make_plan(composed(overrides)) for name, overrides in VARIANTS.items()}
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in plans}
    passes = {}
    for repeat in range(arguments.repeats + 1):  # the first round warms up
        for name, plan in plans.items():
            backbone = full if name == "full-depth forward" else fast
            result = transfer_case(backbone, plan.method, plan.sampler, case, TensorCache(None))
            passes[name] = asdict(result.passes)
            if repeat:
                seconds[name].append(result.seconds)
    rows = {}
    for name, runs in seconds.items():
        middle = {s: statistics.median(r.get(s, 0.0) for r in runs) for s in ("guide", "reference", "denoise", "total")}
        rows[name] = middle | passes[name]
    table = Table(title=f"seconds, median of {arguments.repeats}; ratios to the default", show_lines=False)
    for column in ("variant", "guide", "ratio", "total", "ratio", "block forwards", "block backwards"):
        table.add_column(column)
    base = rows["default"]
    for name, row in rows.items():
        guide, total = row["guide"], row["total"]
        ratios = f"{guide / base['guide']:.2f}", f"{total / base['total']:.2f}"
        counts = str(row["block_forwards"]), str(row["block_backwards"])
        table.add_row(name, f"{guide:.2f}", ratios[0], f"{total:.2f}", ratios[1], *counts)
    Console().print(table)
    record = {"threads": torch.get_num_threads(), "rows": rows, **provenance()}
    out = Path(__file__).parent / "results" / "cost.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
