"""Which points of a video are tracked for its motion fidelity, and their tracks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from fastvmt.trackers.base import Tracker, Tracks
from fastvmt.trackers.texture import LEAST, corner_response, textured
from fastvmt.types import Video

GRID = 20
"""Seeds per side in every query frame."""
DILATION = 5
"""Pixels by which a foreground mask is widened: seeds on an object's border count as on it."""


def seed_grid(height: int, width: int, side: int = GRID) -> Tensor:
    """(side * side, 2) points (x, y), evenly spread with a margin of a 64th of the width."""
    margin = width / 64
    x = torch.linspace(margin, width - 1 - margin, side)
    y = torch.linspace(margin, height - 1 - margin, side)
    return torch.cartesian_prod(y, x).flip(-1)


def query_frames(video: Video) -> list[int]:
    """The first, the middle and the last frame."""
    frames = video.size[0]
    return sorted({0, frames // 2, frames - 1})


def featureless(video: Video) -> bool:
    """Whether no point of the seeds' grid has texture to follow: a flat or blank video, whose motion is unknown."""
    grid = seed_grid(*video.size[1:])
    return all(corner_response(video.frames_THWC[t], grid).max() <= LEAST for t in query_frames(video))


def seeds(video: Video, foreground_THW: Tensor | None = None) -> tuple[Tensor, bool]:
    """Queries (t, x, y) on texture in the first, the middle and the last frame, and whether texture is low.

    ``foreground_THW`` (bool) keeps those on the foreground, widened by 5 pixels. A featureless video has none.
    Raises ``ValueError`` for a mask of another size.
    """
    if foreground_THW is not None and tuple(foreground_THW.shape) != video.size:
        raise ValueError(f"a foreground mask has the video's size {video.size}, got {tuple(foreground_THW.shape)}")
    if featureless(video):
        return torch.empty(0, 3), True
    grid = seed_grid(*video.size[1:])
    queries = []
    any_low = False
    for t in query_frames(video):
        keep, low = textured(video.frames_THWC[t], grid)
        points = grid[torch.from_numpy(keep)]
        if foreground_THW is not None:
            wide = max_pool2d(foreground_THW[t][None].float(), 2 * DILATION + 1, stride=1, padding=DILATION)[0] > 0
            x, y = points.round().long().T
            points = points[wide.cpu()[y, x]]
        queries.append(torch.cat([torch.full((len(points), 1), float(t)), points], 1))
        any_low |= low
    return torch.cat(queries), any_low


def followed(video: Video, tracker: Tracker, queries_N3: Tensor) -> Tracks:
    """Tracks of queries, of which there may be none."""
    if len(queries_N3) == 0:
        frames = video.size[0]
        return Tracks(torch.empty(0, frames, 2), torch.empty(0, frames, dtype=torch.bool))
    return tracker.track(video.frames_THWC, queries_N3)


def tracklets(video: Video, tracker: Tracker, foreground_THW: Tensor | None = None) -> Tracks:
    """Tracks of :func:`seeds`, followed both ways in time."""
    return followed(video, tracker, seeds(video, foreground_THW)[0])


def grid_tracks(video: Video, tracker: Tracker, side: int) -> Tracks:
    """Tracks of a full grid of ``side`` x ``side`` points of the first frame, as in published code.

    A featureless video has none.
    """
    grid = seed_grid(*video.size[1:], side)
    queries = torch.cat([torch.zeros(len(grid), 1), grid], 1)
    return followed(video, tracker, queries[:0] if featureless(video) else queries)
