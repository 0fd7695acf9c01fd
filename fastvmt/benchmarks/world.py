"""Cases of the moving-emoji world."""

from __future__ import annotations

import numpy as np
import torch

from fastvmt.backbones.layout import Layout
from fastvmt.benchmarks.base import Benchmark
from fastvmt.types import TransferCase, Truth, Video
from fastvmt.world.motion import CATEGORIES
from fastvmt.world.scene import Scene, WorldClip, render, sample_scene
from fastvmt.world.vocabulary import BACKGROUNDS, OBJECTS, canonical_caption

BENCHMARK_SPLIT = 2
"""First word of the seeds of benchmark scenes; trainings use 0 and their held-out checks 1."""


class WorldBenchmark(Benchmark):
    """Cases of the moving-emoji world, one category after the other; any number, from a seed.

    Each prompt names as many objects as the reference shows, all different from them, on another
    background. References carry their true motion.
    """

    def __init__(
        self, layout: Layout, fps: float, sample_seed: int, *, cases: int, categories: list[str], seed: int
    ) -> None:
        unknown = [name for name in categories if name not in CATEGORIES]
        if unknown or not categories:
            raise ValueError(f"benchmark.categories={categories} must be among {', '.join(CATEGORIES)}")
        if cases < 1:
            raise ValueError(f"benchmark.cases={cases} must be at least 1")
        if layout.height != layout.width:
            raise ValueError(
                f"the moving-emoji world renders square clips, not {layout.height} x {layout.width}: set "
                "backbone.height and backbone.width equal, or give your own clip with video=<file> prompt=<text>"
            )
        self.layout, self.fps, self.sample_seed = layout, fps, sample_seed
        self.cases, self.categories, self.seed = cases, categories, seed

    def __len__(self) -> int:
        return self.cases

    def scene(self, index: int) -> tuple[Scene, str]:
        """The reference's scene and the prompt of a case."""
        rng = np.random.default_rng([BENCHMARK_SPLIT, self.seed, index])
        scene = sample_scene(rng, self.layout.frames, self.categories[index % len(self.categories)])
        others = [name for name in OBJECTS if name not in scene.objects]
        places = [name for name in BACKGROUNDS if name != scene.background]
        objects = [str(name) for name in rng.choice(others, len(scene.objects), replace=False)]
        return scene, canonical_caption(objects, str(rng.choice(places)))

    def __getitem__(self, index: int) -> TransferCase:
        if not 0 <= index < self.cases:
            raise IndexError(index)
        scene, prompt = self.scene(index)
        clip = render(scene, self.layout.height)
        return TransferCase(
            id=f"{self.seed:02d}-{index:03d}-{scene.category}-{scene.motion}",
            reference=Video(torch.from_numpy(clip.frames_THWC), self.fps, scene.caption),
            prompt=prompt,
            seed=self.sample_seed + index,
            category=scene.category,
            reference_prompt=scene.caption,
            truth=truth_of(clip),
        )


def truth_of(clip: WorldClip) -> Truth:
    """A clip's true motion as tensors."""
    arrays = (clip.centres_KT2, clip.tracks_NT2, clip.visible_NT, clip.owner_N)
    return Truth(*(torch.from_numpy(array) for array in arrays))
