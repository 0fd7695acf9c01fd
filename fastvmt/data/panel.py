"""Videos beside one another, for people to compare."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from fastvmt.types import Video

FONT = cv2.FONT_HERSHEY_SIMPLEX
BANNER = 0.16
"""Height of a label's banner as a fraction of the tallest video."""


def side_by_side(videos: Sequence[Video], labels: Sequence[str] | None = None) -> Video:
    """One video with all ``videos`` in a row, at the first one's frame rate.

    Lower videos are padded with black above and below. ``labels`` (one each) go in a banner on top.

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
    if labels is not None:
        columns = [_with_banner(column, label) for column, label in zip(columns, labels, strict=True)]
    name = " | ".join(video.name for video in videos)
    return Video(torch.cat(columns, dim=2), videos[0].fps, name)


def _to_height(frames_THWC: Tensor, height: int) -> Tensor:
    missing = height - frames_THWC.shape[1]
    return pad(frames_THWC, (0, 0, 0, 0, missing // 2, missing - missing // 2))


def _with_banner(frames_THWC: Tensor, label: str) -> Tensor:
    count, height, width, _ = frames_THWC.shape
    rows = max(12, round(BANNER * height))
    banner = np.zeros((rows, width, 3), np.uint8)
    (text_w, text_h), base = cv2.getTextSize(label, FONT, 1.0, 1)
    size = min(0.9 * width / max(text_w, 1), 0.7 * rows / (text_h + base))
    at = round((width - size * text_w) / 2), round((rows + size * text_h) / 2)
    cv2.putText(banner, label, at, FONT, size, (255, 255, 255), 1, cv2.LINE_AA)
    return torch.cat([torch.from_numpy(banner).expand(count, -1, -1, -1), frames_THWC], dim=1)
