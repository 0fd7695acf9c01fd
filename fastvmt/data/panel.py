"""Videos beside one another, for people to compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import pad

from fastvmt.types import Video

LETTERS = 18
"""Size of the labels' letters, pixels; smaller above panels narrower than ``READABLE``."""
READABLE = 240
"""Width of a panel, pixels, from which letters have their full size."""
MOST_LINES = 4
"""Of a label; the rest becomes an ellipsis."""


def side_by_side(videos: Sequence[Video], labels: Sequence[str] | None = None, scale: int = 1) -> Video:
    """One video with all ``videos`` in a row, at the first one's frame rate.

    Every pixel becomes ``scale`` x ``scale`` pixels. Lower videos are padded with black above and below. ``labels``
    (one each) stand above their videos, in lines that fit their width.

    Raises ``ValueError`` for no videos, unequal frame counts or a wrong number of labels.
    """
    if not videos:
        raise ValueError("side_by_side needs at least one video")
    counts = [video.size[0] for video in videos]
    if len(set(counts)) > 1:
        raise ValueError(f"side_by_side needs videos of equal length, got {counts} frames")
    if labels is not None and len(labels) != len(videos):
        raise ValueError(f"{len(labels)} labels for {len(videos)} videos: give one each")
    height = max(video.size[1] for video in videos)
    columns = [_to_height(video.frames_THWC, height) for video in videos]
    columns = [column.repeat_interleave(scale, 1).repeat_interleave(scale, 2) for column in columns]
    frames_THWC = torch.cat(columns, dim=2)
    if labels is not None:
        banner = _banner(labels, [column.shape[2] for column in columns])
        frames_THWC = torch.cat([banner.expand(len(frames_THWC), -1, -1, -1), frames_THWC], dim=1)
    return Video(frames_THWC, videos[0].fps, " | ".join(video.name for video in videos))


def _to_height(frames_THWC: Tensor, height: int) -> Tensor:
    missing = height - frames_THWC.shape[1]
    return pad(frames_THWC, (0, 0, 0, 0, missing // 2, missing - missing // 2))


def _banner(labels: Sequence[str], widths: Sequence[int]) -> Tensor:
    """White letters on black (H, W, 3), each label centred above its width."""
    letters = max(6, round(LETTERS * min(1, min(widths) / READABLE)))
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), letters)
    margin = letters // 2
    texts = ["\n".join(wrapped(label, font, width - 2 * margin)) for label, width in zip(labels, widths, strict=True)]
    lines = max(text.count("\n") + 1 for text in texts)
    picture = Image.new("RGB", (sum(widths), lines * round(1.3 * letters) + 2 * margin))
    draw = ImageDraw.Draw(picture)
    left = 0
    for text, width in zip(texts, widths, strict=True):
        middle = (left + width / 2, picture.height / 2)
        draw.multiline_text(middle, text, (255, 255, 255), font, anchor="mm", align="center", spacing=0.1 * letters)
        left += width
    return torch.from_numpy(np.array(picture))


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Lines of at most ``width`` pixels, broken at spaces and in words that are longer, ``MOST_LINES`` at most."""
    lines = [""]
    for word in " ".join(text.split()).split(" "):
        if lines[-1] and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        lines += [""] if lines[-1] else []
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    if len(lines) <= MOST_LINES:
        return lines
    last = lines[MOST_LINES - 1]
    while last and font.getlength(f"{last}...") > width:
        last = last[:-1]
    return [*lines[: MOST_LINES - 1], f"{last}..."]
