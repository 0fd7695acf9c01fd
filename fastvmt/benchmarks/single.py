"""One clip of the user's."""

from __future__ import annotations

import logging
from pathlib import Path

from fastvmt.backbones.layout import Layout
from fastvmt.benchmarks.base import Benchmark
from fastvmt.data.frame_folder import read_clip
from fastvmt.data.resample import prepare
from fastvmt.settings import check
from fastvmt.types import TransferCase

log = logging.getLogger(__name__)
LITTLE = 0.4
"""Seconds of a clip below which its motion may not be seen."""


class SingleClip(Benchmark):
    """One clip of the user's, resampled and cropped to the backbone's size."""

    def __init__(
        self,
        layout: Layout,
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
    ) -> None:
        """A folder of pictures as ``video`` states no rate: it is ``sample_fps``, or else the backbone's ``fps``."""
        check(frame_policy in ("error", "pad_last"), "frame_policy", frame_policy, "error or pad_last")
        path = Path(video).expanduser()
        clip = read_clip(path, sample_fps or fps)
        reference, how = prepare(
            clip,
            frames=layout.frames,
            height=layout.height,
            width=layout.width,
            fps=sample_fps,
            start=start,
            policy=frame_policy,
            temporal_factor=layout.temporal_factor,
        )
        log.info("%s: %s", path.name, how)
        shown = layout.frames / reference.fps
        if shown < LITTLE:
            log.warning("%s: only %.2f s of it are used and may show little motion; fps=8 takes more", path.name, shown)
        self.case = TransferCase(
            id=path.stem,
            reference=reference,
            prompt=prompt,
            negative_prompt=negative_prompt,
            seed=sample_seed,
            reference_prompt=reference_prompt or "",
        )

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> TransferCase:
        if index != 0:
            raise IndexError(index)
        return self.case
