"""What a user brings to a table, made at random: a model in Wan's layout, its numbers, and two clips with prompts.

``python -m experiments.checks.random_study FOLDER`` writes ``model/``, ``own/``, ``clips/`` and ``prompts.yaml`` there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from experiments import command_line
from experiments.checks.clips import write
from experiments.random_folder import save_random_wan
from fastvmt.world.scene import render, sample_scene

NAME = "random_wan"
BLOCKS = 25
"""As many as the tables' ``guidance.block`` wants of Wan 1.3B."""
FRAMES, SIDE = 9, 48
TUNED = ("det", "motion_director", "motion_inversion")
PRESETS: dict[str, dict[str, Any]] = {
    f"backbone/{NAME}": {
        "defaults": ["wan_1_3b"],
        "path": "???",
        "name": "random-wan",
        "frames": FRAMES,
        "height": SIDE,
        "width": SIDE,
        "fps": 8,
        "max_tokens": 16,
        "dtype": "float32",
        "memory": "fast",
    },
    f"preset/{NAME}": {
        "window": {"l": 3},
        "sampler": {"steps": 10},
        "metrics": {"clip": {"model": "tiny-clip"}},
    },
    f"experiment/preset/table_window_{NAME}": {
        "hydra": {"sweeper": {"params": {"window.l": "0,3,5"}}},
        "table": {
            "base": {"window.l": 3, "window.tile": [3, 4]},
            "claims": ['motion_fidelity["l=3,tile=[3,4]"] - motion_fidelity["l=0,tile=[3,4]"] > -0.02'],
        },
    },
    **{f"method/preset/{method}_{NAME}": {"tuning": {"iterations": 3}} for method in TUNED},
}
"""What such a model needs otherwise: a grid of 5 x 6 x 6 tokens, few steps, short tuning."""
GLOBAL = "# @package _global_\n"


def write_presets(folder: Path, model: Path) -> Path:
    """Write the model's own configuration files, for ``hydra.searchpath``; returns the folder."""
    for name, content in PRESETS.items():
        file = folder / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        known = {"path": str(model)} if name.startswith("backbone/") else {}
        text = yaml.safe_dump(content | known, sort_keys=False)
        file.write_text(text if name.startswith(("backbone/", "method/")) else GLOBAL + text)
    return folder


def write_clips(folder: Path) -> None:
    """Write two clips of the moving-emoji world and their prompts."""
    dice = np.random.default_rng(4)
    prompts = {}
    for name, category in (("one", "single_object"), ("two", "camera")):
        scene = sample_scene(dice, FRAMES, category)
        write(folder / "clips" / f"{name}.mp4", render(scene, SIDE * 2).frames_THWC, fps=8.0)
        prompts[name] = {"source_prompt": scene.caption, "prompts": ["a dog on grass"]}
    (folder / "prompts.yaml").write_text(yaml.safe_dump(prompts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.resolve()
    write_presets(folder / "own", save_random_wan(folder / "model", BLOCKS))
    write_clips(folder)


if __name__ == "__main__":
    command_line.run(main)
