"""Cases of the moving-emoji world."""

from __future__ import annotations

import numpy as np
import torch

from fastvmt.benchmarks.base import Benchmark
from fastvmt.settings import LARGEST_COUNT, check_range, check_seed
from fastvmt.types import ClipShape, TransferCase, Truth, Video
from fastvmt.world.motion import CATEGORIES
from fastvmt.world.scene import Scene, WorldClip, render, sample_scene
from fastvmt.world.vocabulary import BACKGROUNDS, OBJECTS, canonical_caption

BENCHMARK_SPLIT = 2
"""First word of the seeds of benchmark scenes; trainings use 0 and their held-out checks 1."""
MOST_PROMPTS = (len(OBJECTS) - 2) // 2
"""Prompts of a reference: each has two new objects at most, and the reference has two."""


class WorldBenchmark(Benchmark):
    """Cases of the moving-emoji world, one category after the other; any number, from a seed.

    Each of a reference's ``prompts`` names as many objects as the reference shows, different from them
    and from the other prompts', on another background. References carry their true motion.
    """

    def __init__(
        self,
        clip: ClipShape,
        fps: float,
        sample_seed: int,
        *,
        cases: int,
        categories: list[str],
        seed: int,
        prompts: int = 1,
    ) -> None:
        unknown = [name for name in categories if name not in CATEGORIES]
        if unknown or not categories:
            raise ValueError(f"benchmark.categories={categories} must be among {', '.join(CATEGORIES)}")
        check_range("benchmark.cases", cases, 1, LARGEST_COUNT)
        check_seed("benchmark.seed", seed)
        if not 1 <= prompts <= MOST_PROMPTS or cases % prompts:
            legal = f"1 .. {MOST_PROMPTS} and divide benchmark.cases={cases}, which counts references x prompts"
            fit = -(-cases // prompts) * prompts if 1 <= prompts <= MOST_PROMPTS else None
            advice = "benchmark.prompts=1" if fit is None else f"benchmark.cases={fit} or benchmark.prompts=1"
            raise ValueError(f"benchmark.prompts={prompts} must be in {legal}: set {advice}")
        if clip.height != clip.width:
            raise ValueError(
                f"the moving-emoji world renders square clips, not {clip.height} x {clip.width}: set "
                "backbone.height and backbone.width equal, or give your own clip with video=<file> prompt=<text>"
            )
        self.clip = clip
        self.fps = fps
        self.sample_seed = sample_seed
        self.cases = cases
        self.categories = categories
        self.seed = seed
        self.prompts = prompts

    def __len__(self) -> int:
        return self.cases

    def texts(self) -> list[str]:
        scenes = map(self.scene, range(self.cases))
        return ["", *(text for scene, prompt in scenes for text in (prompt, scene.caption))]

    def scene(self, index: int) -> tuple[Scene, str]:
        """The reference's scene and the prompt of a case."""
        reference, prompt = divmod(index, self.prompts)
        rng = np.random.default_rng([BENCHMARK_SPLIT, self.seed, reference])
        scene = sample_scene(rng, self.clip.frames, self.categories[reference % len(self.categories)])
        places = [name for name in BACKGROUNDS if name != scene.background]
        used = list(scene.objects)
        for _ in range(prompt + 1):  # earlier prompts are drawn too: how many there are changes none of them
            others = [name for name in OBJECTS if name not in used]
            objects = [str(name) for name in rng.choice(others, len(scene.objects), replace=False)]
            caption = canonical_caption(objects, str(rng.choice(places)))
            used += objects
        return scene, caption

    def __getitem__(self, index: int) -> TransferCase:
        if not 0 <= index < self.cases:
            raise IndexError(index)
        scene, prompt = self.scene(index)
        clip = render(scene, self.clip.height)
        number, which = divmod(index, self.prompts)
        reference = f"{self.seed:02d}-{number:03d}-{scene.category}-{scene.motion}"
        return TransferCase(
            id=f"{reference}/p{which}" if self.prompts > 1 else reference,
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
