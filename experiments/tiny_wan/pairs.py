"""Frames of the moving-emoji world and texts that are true of them: what tiny-clip learns from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.progress import track
from torch import Tensor

from experiments.tiny_wan.captions import sample_caption
from fastvmt.world.scene import Scene, WorldClip, render, sample_scene
from fastvmt.world.vocabulary import BACKGROUNDS, COLOURS, OBJECTS

NAMES = (*OBJECTS, *BACKGROUNDS)
"""What a frame can hold and a text can mention: the columns of a content vector."""
FILLERS = ("running", "fluffy", "slowly", "outdoors", "beautiful")
"""Words outside the tokenizer's vocabulary, all one to it: prompts may hold some."""
STAGES = ("clean", "blobs", "empty")
"""What can become of a clip's objects."""


def content(names: list[str]) -> Tensor:
    """0/1 vector over ``NAMES``."""
    return torch.tensor([float(name in names) for name in NAMES])


@dataclass(frozen=True)
class Pool:
    """Rendered frames and what is recognisable in them."""

    frames_N3HW: Tensor
    """uint8 RGB."""
    content_NK: Tensor
    scenes: list[Scene]
    """The scene of each frame."""


def smeared(clip: WorldClip, empty: WorldClip, sigma: float) -> NDArray[np.uint8]:
    """The frames of ``clip`` with each object's colours spread by ``sigma`` pixels over ``empty``."""
    frames = np.empty_like(clip.frames_THWC)
    for t, frame in enumerate(clip.frames_THWC):
        alpha = np.any(clip.masks_KTHW[:, t], axis=0, keepdims=True).astype(np.float32).transpose(1, 2, 0)
        blurred = cv2.GaussianBlur(np.concatenate([frame * alpha, alpha], -1), (0, 0), sigma)
        frames[t] = np.clip(empty.frames_THWC[t] * (1 - blurred[..., 3:]) + blurred[..., :3], 0, 255)
    return frames


def staged(scene: Scene, size: int, stage: str, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Scene]:
    """Frames (T, H, W, 3) of a scene at one of ``STAGES`` and the scene of what is recognisable."""
    if stage == "clean":
        return render(scene, size).frames_THWC, scene
    bare = replace(scene, objects=(), poses=())
    empty = render(bare, size)
    if stage == "empty":
        return empty.frames_THWC, bare
    return smeared(render(scene, size), empty, rng.uniform(5, 12) * size / 96), bare


def rendered_pool(clips: int, cfg: DictConfig, split: int, stage: str | None = None) -> Pool:
    """Render ``clips`` clips at ``stage``; by default in the shares of ``cfg``.

    The seeds do not depend on the stage: pools of one split show the same scenes.
    """
    shares = {"clean": 1 - cfg.blobs - cfg.empty, "blobs": cfg.blobs, "empty": cfg.empty}
    frames, scenes = [], []
    for i in track(range(clips), description=f"rendering {clips} clips of {cfg.frames} frames"):
        rng = np.random.default_rng([split, cfg.seed, i])
        scene = sample_scene(rng, cfg.frames)
        fate = stage or str(rng.choice(STAGES, p=[shares[name] for name in STAGES]))
        video, scene = staged(scene, cfg.size, fate, rng)
        frames.append(torch.from_numpy(video).permute(0, 3, 1, 2))
        scenes += [scene] * cfg.frames
    contents = torch.stack([content([*scene.objects, scene.background]) for scene in scenes])
    return Pool(torch.cat(frames), contents, scenes)


def part_phrase(rng: np.random.Generator, objects: tuple[str, ...], background: str) -> tuple[str, list[str]]:
    """A phrase that mentions one object, or the background, and what it mentions."""
    if objects and rng.random() < 0.65:
        name = str(rng.choice(objects))
        colour = COLOURS[name] + " " if rng.random() < 0.3 else ""
        start = rng.choice(["a", "a", "the", "a photo of a", "a picture of the", "a video of a"])
        return f"{start} {colour}{rng.choice(OBJECTS[name])}", [name]
    place = rng.choice(BACKGROUNDS[background])
    form = rng.choice(["{}", "on {}", "on the {}", "in the {}", "a photo of {}", "a {} background"])
    return str(form).format(place), [background]


def with_fillers(rng: np.random.Generator, text: str, chance: float) -> str:
    """With probability ``chance``, add one to six words that the tokenizer does not know."""
    words = text.split()
    if rng.random() < chance:
        for _ in range(rng.integers(1, 7)):
            words.insert(int(rng.integers(len(words) + 1)), str(rng.choice(FILLERS)))
    return " ".join(words)


def texts_of(scene: Scene, rng: np.random.Generator, fillers: float) -> list[tuple[str, list[str]]]:
    """Two texts that are true of the scene, each with what it mentions: the whole and a part."""
    part = part_phrase(rng, scene.objects, scene.background)
    whole = part_phrase(rng, (), scene.background)
    if scene.objects:
        names = list(scene.objects)
        whole = (sample_caption(rng, names, scene.background), [*names, scene.background])
    return [(with_fillers(rng, text, fillers), names) for text, names in (whole, part)]


def truth(frames_BK: Tensor, texts_MK: Tensor) -> Tensor:
    """1 where everything that a text mentions is in the frame, else 0; (B, M)."""
    return (frames_BK @ texts_MK.T == texts_MK.sum(-1)).float()
