"""How surely is the watermark found, after encoding and resizing, and how often where there is none?

``python -m experiments.checks.watermark_check [CLIPS]`` marks clips of the emoji world (96 x 96 pixels, 9 frames) and,
if given, the first frames of the videos in a folder; ``watermark.json`` has the values of
:func:`fastvmt.watermark.detect` by what was done to the clip.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from experiments import command_line
from fastvmt.data.resample import cover
from fastvmt.data.triples import clips_in
from fastvmt.data.video import read_video, write_video
from fastvmt.data.video_stream import open_video
from fastvmt.files import write_json
from fastvmt.results.provenance import provenance
from fastvmt.types import Video
from fastvmt.watermark import THRESHOLD, detect, marked
from fastvmt.world.scene import CATEGORIES, render, sample_scene

KEYS = 40
"""Per clip without a mark."""
FRAMES = 33
"""At most, of a real clip."""
SHARE = 0.75
"""By which clips are resized."""


def world_clips(count: int) -> Iterator[Video]:
    """Scenes of every category in turn."""
    for seed in range(count):
        scene = sample_scene(np.random.default_rng(9000 + seed), 9, CATEGORIES[seed % len(CATEGORIES)])
        yield Video(torch.from_numpy(render(scene, 96).frames_THWC), 8.0, f"world {seed}")


def real_clips(folder: Path) -> Iterator[Video]:
    """The first frames of every video of a folder, covered to 480 x 832 pixels as Wan's."""
    for name, file in sorted(clips_in(folder).items()):
        clip = open_video(file)
        frames = torch.stack([torch.from_numpy(p) for p in clip.pictures(range(min(FRAMES, len(clip.times))))])
        yield Video(cover(frames, 480, 832), clip.fps, name)


def encoded(video: Video) -> Video:
    """As :func:`fastvmt.data.video.write_video` leaves it on a disk."""
    with tempfile.TemporaryDirectory() as folder:
        write_video(Path(folder, "a.mp4"), video)
        return read_video(Path(folder, "a.mp4"))


def resized(video: Video) -> Video:
    """At ``SHARE`` of its sides."""
    height, width = (2 * round(side * SHARE / 2) for side in video.size[1:])
    return Video(cover(video.frames_THWC, height, width), video.fps, video.name)


TREATMENTS: dict[str, Callable[[Video], Video]] = {
    "as marked": lambda video: video,
    "encoded": encoded,
    "encoded twice": lambda video: encoded(encoded(video)),
    "encoded, resized, encoded": lambda video: encoded(resized(encoded(video))),
}


def measure(clips: Sequence[Video]) -> dict[str, object]:
    """Values of marked clips by treatment, of unmarked ones over keys, and the mark's size."""
    found: dict[str, list[float]] = {name: [] for name in TREATMENTS}
    absent, noise = [], []
    for number, clip in enumerate(clips):
        made = marked(clip, f"the key of clip {number}".encode())
        noise.append(float((made.frames_THWC.float() - clip.frames_THWC.float()).square().mean()))
        for name, treat in TREATMENTS.items():
            found[name].append(detect(treat(made), f"the key of clip {number}".encode()))
        for video in (clip, made):
            absent += [detect(video, f"another key {key}".encode()) for key in range(KEYS)]
    rows = {
        name: {"found": sum(z > THRESHOLD for z in values), "least": min(values), "median": float(np.median(values))}
        for name, values in found.items()
    }
    return {
        "clips": len(clips),
        "marked": rows,
        "other_keys": {
            "tried": len(absent),
            "found": sum(z > THRESHOLD for z in absent),
            "largest": max(absent),
            "std": float(np.std(absent)),
        },
        "psnr_db": 10 * math.log10(255**2 / float(np.mean(noise))),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="?", help="a folder of videos")
    parser.add_argument("--world", type=command_line.count, default=60, help="clips of the emoji world")
    command_line.add_results(parser)
    arguments = parser.parse_args(argv)
    groups = {"world": list(world_clips(arguments.world))}
    if arguments.clips:
        groups["real"] = list(real_clips(arguments.clips))
        if not groups["real"]:
            raise ValueError(f"{arguments.clips} holds no videos")
    content = {name: measure(clips) for name, clips in groups.items()}
    write_json(arguments.results / "watermark.json", {"threshold": THRESHOLD, **content, **provenance()})
    Console().print(content)


if __name__ == "__main__":
    command_line.run(main)
