"""The shape that all scores share: columns of one video, averaged over videos in any number of processes."""

from __future__ import annotations

import fastvmt.torchvision_ops  # noqa: F401  before torchmetrics, which imports torchvision

# isort: split
import math
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fastvmt.score.preprocess import check_frames
from fastvmt.score.sample import Sample, blank
from fastvmt.types import Video

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


class ScoreMetric(Metric):
    """Keeps the index and the columns of every video; ``compute`` is the mean of the first column.

    Distributed samplers repeat cases to fill the last batch: the index tells repeats apart, and each video counts
    once. NaN marks a video whose score is undefined: it is kept, told of by a warning, and left out of the mean.
    """

    higher_is_better: bool | None = True
    is_differentiable = False
    full_state_update = False

    columns: tuple[str, ...]
    """What :meth:`score` gives, the score itself first."""
    index: list[Tensor]
    rows: list[Tensor]
    """(videos, columns) float64."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("index", "rows"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    @property
    def source(self) -> dict[str, Any]:
        """What computes it: encoder or tracker, hash of its weights, mode; plain values."""
        return {}

    @abstractmethod
    def measure(self, sample: Sample) -> dict[str, float]:
        """The columns of a sample that is not blank; raises ``ValueError`` for one that it cannot take."""

    def score(self, sample: Sample) -> dict[str, float]:
        """The columns of one sample; NaN where undefined, as all are for a video of one colour."""
        return dict.fromkeys(self.columns, math.nan) if blank(sample.video) else self.measure(sample)

    def reasons(self, sample: Sample, found: Mapping[str, float]) -> dict[str, str]:
        """Why columns of ``found`` are NaN though the sample has what the score needs, by column, where it knows."""
        return {}

    def update(
        self,
        videos: Videos,
        index: Sequence[int],
        *,
        references: Videos | None = None,
        prompts: Sequence[str] | None = None,
        fps: float = math.nan,
    ) -> None:
        """Score videos, and keep the results under their indices.

        Args:
            videos: see ``Videos``.
            index: one per video.
            references: the clips whose motion they should follow, one per video; for motion fidelity.
            prompts: what they should show, one per video; for text similarity.
            fps: rate of videos that are tensors; for the dynamic degree.
        """
        clips = as_videos(videos, fps)
        given = [None] * len(clips) if references is None else as_videos(references, fps)
        words = [""] * len(clips) if prompts is None else list(prompts)
        if not len(clips) == len(given) == len(words) == len(index):
            counts = f"{len(clips)} videos, {len(given)} references, {len(words)} prompts and {len(index)} indices"
            raise ValueError(f"give one index per video, and one reference and prompt where needed; got {counts}")
        samples = [Sample(*each) for each in zip(clips, given, words, strict=True)]
        rows = [[found[column] for column in self.columns] for found in map(self.score, samples)]
        if undefined := [i for i, row in zip(index, rows, strict=True) if math.isnan(row[0])]:
            warnings.warn(f"{type(self).__name__} is undefined for videos {undefined}: left out", stacklevel=2)
        values = torch.tensor(rows, dtype=torch.float64, device=self.device)
        self.rows.append(values.reshape(len(rows), len(self.columns)))
        self.index.append(torch.tensor(list(index), dtype=torch.int64, device=self.device))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """See torchmetrics; a process without videos has to gather as many tensors as the others."""
        if not self.index:
            self.index = [torch.empty(0, dtype=torch.int64, device=self.device)]
            self.rows = [torch.empty(0, len(self.columns), dtype=torch.float64, device=self.device)]
        super().sync(*args, **kwargs)

    def per_sample(self) -> tuple[Tensor, Tensor]:
        """Distinct indices in ascending order and their values (the first recorded of each), of all processes."""
        with self.sync_context():
            index, rows = self._distinct()
        return index, rows[:, 0]

    def compute(self) -> Tensor:
        """Mean over distinct videos; NaN when no video has a score."""
        return self._distinct()[1][:, 0].nanmean()

    def report(self) -> dict[str, float]:
        """Mean over distinct videos of every column, of all processes; NaN for those that no video has."""
        with self.sync_context():
            rows = self._distinct()[1]
        return dict(zip(self.columns, rows.nanmean(0).tolist(), strict=True))

    def _distinct(self) -> tuple[Tensor, Tensor]:
        """Index and row of distinct videos, by ascending index."""
        index, order = torch.sort(dim_zero_cat(self.index), stable=True)
        first = torch.ones_like(index, dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        return index[first], dim_zero_cat(self.rows)[order][first]


class VideoMetric(ScoreMetric):
    """A score of the video alone, in one column."""

    @abstractmethod
    def value(self, video: Video) -> float:
        """The score of one video; NaN where undefined."""

    def measure(self, sample: Sample) -> dict[str, float]:
        return {self.columns[0]: self.value(sample.video)}


def need_frames(video: Video, least: int, what: str) -> None:
    """Raises ``ValueError`` if a video is too short to be scored."""
    if video.size[0] < least:
        raise ValueError(f"{what} needs at least {least} frames, {video.name or 'the video'} has {video.size[0]}")
