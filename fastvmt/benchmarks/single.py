"""One clip of the user's."""

from __future__ import annotations

import logging
from pathlib import Path

from fastvmt.benchmarks.base import Benchmark
from fastvmt.data.cuts import cut_detector, one_shot
from fastvmt.data.frame_folder import open_clip
from fastvmt.data.resample import doubts, frame_index, prepare
from fastvmt.settings import check, check_rate
from fastvmt.types import ClipShape, TransferCase

log = logging.getLogger(__name__)


class SingleClip(Benchmark):
    """One clip of the user's, resampled and cropped to the backbone's size."""

    def __init__(
        self,
        clip: ClipShape,
        fps: float,
        sample_seed: int,
        *,
        video: str,
        prompt: str,
        negative_prompt: str = "",
        reference_prompt: str | None = None,
        sample_fps: float | None = None,
        start: int = 0,
        frame_policy: str = "error",
        cut_policy: str = "error",
    ) -> None:
        """A folder of pictures as ``video`` states no rate: it is ``sample_fps``, or else the backbone's ``fps``."""
        check(frame_policy in ("error", "pad_last"), "frame_policy", frame_policy, "error or pad_last")
        if sample_fps is not None:
            check_rate("fps (benchmark.sample_fps)", sample_fps)
        if not video.strip():
            raise ValueError("video= is empty: give a video file or a folder of pictures")
        path = Path(video).expanduser()
        found = open_clip(path, sample_fps or fps)
        index = frame_index(found, clip, sample_fps, start, frame_policy)
        shot = one_shot(found, index, cut_policy, cut_detector(cut_policy))
        reference, how = prepare(shot, clip, fps=sample_fps, start=start, policy=frame_policy)
        log.info("%s", how)
        for doubt in doubts(shot, reference, sample_fps):
            log.warning("%s: %s", path.name, doubt)
        self.case = TransferCase(
            id=path.stem,
            reference=reference,
            prompt=prompt,
            negative_prompt=negative_prompt,
            seed=sample_seed,
            reference_prompt=reference_prompt or "",
        )

    def texts(self) -> list[str]:
        return [self.case.prompt, self.case.negative_prompt, self.case.reference_prompt, ""]

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> TransferCase:
        if index != 0:
            raise IndexError(index)
        return self.case
