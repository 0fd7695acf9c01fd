"""The shape that all scores share: one value per video, averaged over videos."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fastvmt.score.preprocess import check_frames
from fastvmt.types import Video

NAN_POLICIES = ("skip", "raise")
POOLS = ("videos", "frames")
Videos = Sequence[Video | Tensor] | Tensor
"""What metrics take: :class:`Video` or uint8 (T, 3, H, W) each, or one tensor (T, 3, H, W) or (B, T, 3, H, W)."""


def as_videos(videos: Videos, fps: float = math.nan) -> list[Video]:
    """What scores read; tensors state no rate, so they get ``fps``.

    ``TypeError`` for another type, ``ValueError`` for tensors of another dtype or shape.

    Example:
        >>> [video.size for video in as_videos(torch.zeros(2, 9, 3, 48, 64, dtype=torch.uint8))]
        [(9, 48, 64), (9, 48, 64)]
    """
    given = videos[None] if isinstance(videos, Tensor) and videos.ndim == 4 else videos
    if not isinstance(given, Sequence | Tensor) or not all(isinstance(v, Video | Tensor) for v in given):
        kinds = videos if isinstance(videos, Sequence) else [videos]
        raise TypeError(
            "videos are a list of Video or of uint8 tensors (T, 3, H, W), or one tensor (T, 3, H, W) or "
            f"(B, T, 3, H, W); got {', '.join(sorted({type(kind).__name__ for kind in kinds}))}"
        )
    for each in (v for v in given if isinstance(v, Tensor)):
        check_frames(each)
    return [v if isinstance(v, Video) else Video(v.permute(0, 2, 3, 1).contiguous(), fps) for v in given]


class PerVideoMetric(Metric):
    """Keeps (index, value) of every video; ``compute`` is the mean over distinct indices.

    Distributed samplers repeat cases to fill the last batch: the index tells repeats apart. NaN marks
    a video whose score is undefined: it is kept, counted and left out of the mean, or refused with
    ``nan_policy="raise"``. ``pool="frames"`` weighs each video by its ``weight``, so that long videos
    count more, as some published tables do.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False

    value: list[Tensor]
    index: list[Tensor]
    weight: list[Tensor]
    n_invalid: Tensor
    """NaN values recorded, repeats included."""
    nothing: ClassVar[dict[str, Tensor]] = {
        "value": torch.empty(0, dtype=torch.float64),
        "index": torch.empty(0, dtype=torch.int64),
        "weight": torch.empty(0, dtype=torch.float64),
    }
    """What each list holds in a process without videos, which has to gather as many tensors as the others."""

    def __init__(self, nan_policy: str = "skip", pool: str = "videos", **kwargs: Any) -> None:
        super().__init__(compute_with_cache=False, **kwargs)  # record() would not empty the cache
        if nan_policy not in NAN_POLICIES:
            raise ValueError(f"nan_policy={nan_policy!r} must be one of {', '.join(NAN_POLICIES)}")
        if pool not in POOLS:
            raise ValueError(f"pool={pool!r} must be one of {', '.join(POOLS)}")
        self.nan_policy, self.pool = nan_policy, pool
        for name in self.nothing:
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self.add_state("n_invalid", default=torch.tensor(0), dist_reduce_fx="sum")

    def record(self, values: Sequence[float], index: Sequence[int], weights: Sequence[float] | None = None) -> None:
        """Keep scores that were computed already, one per video, under the videos' indices.

        ``weights`` (default 1 each) matter with ``pool="frames"`` only.
        """
        weights = [1.0] * len(values) if weights is None else weights
        if not len(values) == len(index) == len(weights):
            raise ValueError(f"{len(values)} scores for {len(index)} indices: give one index per video")
        invalid = [i for i, value in zip(index, values, strict=True) if math.isnan(value)]
        if invalid and self.nan_policy == "raise":
            raise ValueError(
                f"{type(self).__name__} is undefined for videos {invalid}; nan_policy=skip leaves them out"
            )
        if invalid:
            warnings.warn(f"{type(self).__name__} is undefined for videos {invalid}: left out", stacklevel=2)
        self.value.append(torch.tensor(values, dtype=torch.float64, device=self.device).reshape(-1))
        self.weight.append(torch.tensor(weights, dtype=torch.float64, device=self.device).reshape(-1))
        self.index.append(torch.tensor(index, dtype=torch.int64, device=self.device).reshape(-1))
        self.n_invalid += len(invalid)
        self._update_count += 1  # else torchmetrics warns that nothing was recorded

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """See torchmetrics; part of every ``compute``."""
        for name, empty in self.nothing.items():
            if not getattr(self, name):
                setattr(self, name, [empty.to(self.device)])
        super().sync(*args, **kwargs)

    def per_sample(self) -> tuple[Tensor, Tensor]:
        """Distinct indices in ascending order and their values (the first recorded of each), of all processes."""
        with self.sync_context():
            return self._distinct()[:2]

    def compute(self) -> Tensor:
        """Mean over videos; NaN when no video has a score."""
        _, value, weight = self._distinct()
        weight = weight * value.isfinite()
        return (value.nan_to_num() * weight).sum() / weight.sum() if weight.sum() > 0 else value.new_tensor(math.nan)

    def _distinct(self) -> tuple[Tensor, Tensor, Tensor]:
        """Index, value and weight of distinct videos, by ascending index."""
        value, index, weight = dim_zero_cat(self.value), dim_zero_cat(self.index), dim_zero_cat(self.weight)
        order = torch.argsort(index, stable=True)
        index, value, weight = index[order], value[order], weight[order]
        first = torch.ones_like(index, dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        weight = weight if self.pool == "frames" else torch.ones_like(weight)
        return index[first], value[first], weight[first]


class VideoMetric(PerVideoMetric):
    """A score that needs nothing but the video."""

    @abstractmethod
    def score(self, video: Video) -> float:
        """The score of one video."""

    def update(self, videos: Videos, index: Sequence[int], fps: float = math.nan) -> None:
        """Score videos; each weighs as many frames as it has after the first. ``fps``: of tensors, see there."""
        clips = as_videos(videos, fps)
        self.record([self.score(clip) for clip in clips], index, [clip.size[0] - 1.0 for clip in clips])


def need_frames(video: Video, least: int, what: str) -> None:
    """Raises ``ValueError`` if a video is too short to be scored."""
    if video.size[0] < least:
        raise ValueError(f"{what} needs at least {least} frames, {video.name or 'the video'} has {video.size[0]}")
