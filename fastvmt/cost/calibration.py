"""Seconds of a transformer block, and of the passes of a transfer by them."""

from __future__ import annotations

from dataclasses import dataclass

from fastvmt.types import PassCounter


@dataclass(frozen=True)
class Calibration:
    """Seconds of one block over a clip, on the device, with the memory preset and the weights' place of the run."""

    forward: float
    backward: float
    """With what it computes again."""


def seconds_of(passes: PassCounter, calibration: Calibration, frames: int) -> float:
    """Seconds of block passes over clips of so many latent frames; one over an image takes a frame's share."""
    forwards = passes.block_forwards - passes.image_forwards * (1 - 1 / frames)
    backwards = passes.block_backwards - passes.image_backwards * (1 - 1 / frames)
    return forwards * calibration.forward + backwards * calibration.backward
