"""fastvmt: training-free video motion transfer with video diffusion transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastvmt.engine.session import Session
    from fastvmt.engine.transfer import Transfer


def open(overrides: Sequence[str] = ()) -> Session:
    """Load a model with its scores, to transfer any number of clips on it.

    ``overrides`` are the command line's: ``["window.l=5", "seed=3"]``. Raises ``fastvmt.errors.UserError`` for
    settings that do not fit.

    Example::

        with fastvmt.open(["window.l=5"]) as session:
            first = session.transfer("clip.mp4", "a dog on grass")
            second = session.transfer("clip.mp4", "a cat on sand", seed=3)
    """
    from fastvmt.compose import composed  # Hydra and diffusers take seconds to import
    from fastvmt.engine.session import open_session

    return open_session(composed(overrides))


def transfer(video: str | Path, prompt: str, overrides: Sequence[str] = ()) -> Transfer:
    """Make a video that shows ``prompt`` and moves as ``video`` moves; scores included.

    ``overrides`` as for :func:`open`, which saves loading the model for every clip. Writes nothing but the reference
    cache. Raises ``fastvmt.errors.UserError`` for settings or clips that do not fit.
    """
    from fastvmt.compose import composed
    from fastvmt.engine.session import open_session

    with open_session(composed(overrides, {"video": str(video), "prompt": prompt})) as session:
        return session.transfer_case(session.plan.cases[0])
