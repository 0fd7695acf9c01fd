"""Short transfers of every method, held against the numbers of an earlier version of the code.

``PYTHONPATH=tests python -m helpers.golden`` says which transfers are bit-equal to ``tests/golden/transfers.json``;
with ``--write`` it writes that file anew: only for a change that is meant to move numbers, with the reason in its
message and a new ``fastvmt.algorithm.ALGORITHM``; ``algorithm.json`` keeps hashes of every version's latents. With
``--add METHOD`` it measures a new method and writes its rows beside the others, which stay as they are. The first
file was written at commit d503799, but for MotionClone's rows, since its step is Euler less a move, and those of
``random_wan_world``, whose latents were that commit's to 5e-6.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from experiments.random_folder import save_random_wan
from fastvmt.algorithm import ALGORITHM
from fastvmt.cache import TensorCache
from fastvmt.construct import construct
from fastvmt.engine.plan import make_plan, make_tracker
from fastvmt.methods.transfer import transfer_case
from helpers.config import composed
from helpers.golden_paths import paths
from helpers.transfers import encode_once

FILE = Path(__file__).parents[1] / "golden" / "transfers.json"
VERSIONS = FILE.with_name("algorithm.json")
RANDOM_WAN = ["backbone.path={random_wan}", "backbone.height=48", "backbone.width=48", "guidance.block=1"]
WORLD = ["benchmark=world", "benchmark.cases=2"]
SETTINGS = {
    "demo": ["benchmark=demo"],
    "random_wan": ["benchmark=demo", *RANDOM_WAN],
    "random_wan_world": [*WORLD, *RANDOM_WAN],
    "world": WORLD,
}
"""Every method's rows."""
SHORT = ["sampler.steps=3", "guidance.fraction=0.7", "guidance.iterations=3", "skip.delta=2", "device=cpu"]
OWN = {"iterations": 2, "tuning.iterations": 3}
"""Keys of a method, and their values where it has them."""
SAMPLES = 16
"""Values of the latents that the file holds, evenly spread."""


def golden() -> dict[str, dict[str, Any]]:
    """By ``method[:variant]/setting``: overrides, latents, pixels, scores and passes of the file's version."""
    return json.loads(FILE.read_text())


def versions() -> dict[str, dict[str, str]]:
    """By version of the arithmetic and ``method/setting``: a hash of the latents that the golden file held."""
    return json.loads(VERSIONS.read_text())


def latents_hash(row: dict[str, Any]) -> str:
    """Hash what the file holds of a transfer's latents."""
    return hashlib.sha256(json.dumps([row["latents"], row["norm"]]).encode()).hexdigest()[:16]


def write(rows: dict[str, dict[str, Any]]) -> None:
    """Write both files. Raises ``ValueError`` if latents of this version change: it has to rise first."""
    kept = versions()
    hashes = {name: latents_hash(row) for name, row in sorted(rows.items())}
    if moved := [name for name, known in kept.get(str(ALGORITHM), {}).items() if hashes.get(name, known) != known]:
        raise ValueError(f"the latents of {moved[0]} moved: raise fastvmt.algorithm.ALGORITHM and write again")
    FILE.write_text("{\n" + ",\n".join(f'"{n}": {json.dumps(rows[n])}' for n in sorted(rows)) + "\n}\n")
    VERSIONS.write_text(json.dumps(kept | {str(ALGORITHM): hashes}, indent=1) + "\n")


def overrides_of(method: str, setting: str, also: Sequence[str] = ()) -> list[str]:
    """The overrides of a method's row in one of ``SETTINGS``."""
    numbers = composed(f"method={method}").method
    own = [f"method.{key}={value}" for key, value in OWN.items() if OmegaConf.select(numbers, key) is not None]
    return [f"method={method}", *SETTINGS[setting], *SHORT, *own, *also]


def add(method: str, also: Sequence[str], random_wan: Path) -> None:
    """Measure a method and write its rows beside the others, which stay. Raises ``ValueError`` if it has some."""
    if any(word.startswith("method=") for word in also):
        raise ValueError(f"{' '.join(also)}: the rows are of {method}, another method= would win")
    if str(ALGORITHM) not in versions():
        raise ValueError("the other methods have no rows of this version: write them first, with --write")
    rows = {f"{method}/{setting}": overrides_of(method, setting, also) for setting in SETTINGS}
    if known := sorted(rows.keys() & golden().keys()):
        raise ValueError(f"{known[0]} is there: what moves it is written with --write")
    write(golden() | {name: measure(overrides, random_wan) for name, overrides in rows.items()})


def config_of(overrides: Sequence[str], random_wan: Path) -> DictConfig:
    """The configuration of a golden transfer; ``{random_wan}`` stands for the random model's folder."""
    words = [word.replace("{random_wan}", str(random_wan)) for word in overrides]
    return composed("cache_dir=null", *words)


@cache
def part(group: str, settings: str) -> Any:
    """A backbone, or the scores, loaded once for all transfers that agree in ``settings``."""
    cfg = loaded[settings]
    if group == "backbone":
        return encode_once(construct(cfg.backbone, group))
    return construct(cfg.metrics, group, tracker=make_tracker(cfg, TensorCache(None)))


loaded: dict[str, DictConfig] = {}


def measure(overrides: Sequence[str], random_wan: Path) -> dict[str, Any]:
    """One transfer of the last case that the overrides name, in the form of the file."""
    cfg = config_of(overrides, random_wan)
    plan = make_plan(cfg)
    for group in ("backbone", "metrics"):
        loaded[str(cfg[group])] = cfg
    backbone, scores = part("backbone", str(cfg.backbone)), part("metrics", str(cfg.metrics))
    case = plan.cases[len(plan.cases) - 1]
    result = transfer_case(backbone, plan.method, plan.sampler, case, TensorCache(None))
    latents = result.latents_BCFHW.contiguous()
    flat = latents.flatten().double()
    return {
        "latents_sha256": hashlib.sha256(latents.numpy().tobytes()).hexdigest(),
        "latents": flat[:: max(1, len(flat) // SAMPLES)][:SAMPLES].round(decimals=7).tolist(),
        "norm": round(float(flat.norm()), 5),
        "frames_sha256": hashlib.sha256(result.video.frames_THWC.contiguous().numpy().tobytes()).hexdigest(),
        "case": case.id,
        "scores": {
            name: None if math.isnan(value) else round(value, 6)
            for name, value in scores(result.case, result.video).values.items()
        },
        "passes": vars(result.passes),
        "overrides": list(overrides),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the golden file")
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument(
        "--add", nargs="+", metavar=("METHOD", "OVERRIDE"), help="write rows of a new method, with overrides it needs"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        random_wan = save_random_wan(Path(folder))
        if arguments.add:
            method, *also = arguments.add
            add(method, also, random_wan)
            return
        overrides = paths() | {name: row["overrides"] for name, row in golden().items()}
        found = {name: measure(words, random_wan) for name, words in overrides.items() if arguments.only in name}
    for name, row in found.items():
        known = golden().get(name, {}).get("latents_sha256")
        told = "new" if known is None else "bit-equal" if known == row["latents_sha256"] else "DIFFERS"
        sys.stdout.write(f"{name}: {told}\n")
    if arguments.write:
        write(golden() | found)


if __name__ == "__main__":
    main()
