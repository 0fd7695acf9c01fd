"""Synthetic clips that several tests share."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fastvmt.data.clip import Clip
from fastvmt.types import Video


def clip(frames: int, height: int = 48, width: int = 64, fps: float = 8.0) -> Video:
    """A texture that moves one pixel a frame; frame t has mean brightness 10 t + 20."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.normal(0, 40, (height, width + frames)).astype(np.float32), (5, 5), 0)
    rows = [texture[:, t : t + width] - texture[:, t : t + width].mean() + 10 * t + 20 for t in range(frames)]
    grey = np.stack(rows).clip(0, 255).astype(np.uint8)
    return Video(torch.from_numpy(np.repeat(grey[..., None], 3, -1)), fps)


def write_frames(folder: Path, video: Video, suffix: str = ".png") -> None:
    folder.mkdir(parents=True)
    for t, frame in enumerate(video.frames_THWC.numpy()):
        cv2.imwrite(str(folder / f"{t}{suffix}"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))


def brightness(video: Video) -> list[int]:
    """Which native frames a clip consists of."""
    return [round((float(frame.float().mean()) - 20) / 10) for frame in video.frames_THWC]


def texture(height: int, width: int, seed: int = 0) -> Tensor:
    """A soft random picture (3, H, W) in 0..255."""
    coarse = torch.rand(1, 3, height // 12, width // 12, generator=torch.Generator().manual_seed(seed))
    return 255 * interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)[0]


def pan(frames: int, step: tuple[int, int], size: tuple[int, int] = (96, 128), fps: float = 8.0) -> Video:
    """A camera over a texture, ``step`` = (dx, dy) whole pixels per frame of content to the left and up."""
    (dx, dy), (height, width) = step, size
    canvas = texture(height + frames * dy, width + frames * dx)
    views = [canvas[:, t * dy : t * dy + height, t * dx : t * dx + width] for t in range(frames)]
    return Video(torch.stack(views).round().byte().permute(0, 2, 3, 1).contiguous(), fps)


def in_memory(video: Video) -> Clip:
    """A clip of frames that are decoded already."""
    frames = video.frames_THWC.numpy()
    count, height, width = video.size
    times = tuple(i / video.fps for i in range(count))
    return Clip(video.name, times, video.fps, height, width, lambda index: (frames[i] for i in index))
