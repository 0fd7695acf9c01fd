"""fastvmt: training-free video motion transfer with video diffusion transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastvmt.types import TransferResult


def transfer(video: str | Path, prompt: str, overrides: Sequence[str] = ()) -> TransferResult:
    """Make a video that shows ``prompt`` and moves as ``video`` moves; scores included.

    ``overrides`` are the command line's: ``["window.l=5", "seed=3"]``. Writes nothing but the
    reference cache. Raises ``fastvmt.errors.UserError`` for settings or clips that do not fit.
    """
    from fastvmt.engine.api import transfer_clip  # Hydra and diffusers take seconds to import

    return transfer_clip(video, prompt, overrides)
