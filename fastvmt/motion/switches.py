"""Where the released code of FastVMT departs from the paper: one switch per departure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from fastvmt.settings import check_choice


@dataclass(frozen=True)
class Switches:
    """The arithmetic of ``fastvmt.methods.released``; the defaults are the correct forms, each its own.

    Read from the authors' public code (``diffsynth/pipelines/wan_video.py``) and from a fork of it. A
    switch that concerns windows needs windows: it is refused with ``window.l=0``. Raises ``ValueError``
    for an unknown value, naming the key and the legal ones.
    """

    head_reduce: Literal["guidance", "official_scramble", "mean_qk", "mean_logit"] = "guidance"
    """Code: ``official_scramble``. The view that should separate N heads separates runs of N tokens, whose
    mean is taken, and the heads land where the tokens were: entry g N + r is the mean of head r over tokens
    g N .. g N + N - 1. Correct: a mean over heads (``mean_qk``, ``mean_logit``); ``guidance`` takes
    ``guidance.head_reduce``."""
    window_clamp: Literal["centre", "positions"] = "centre"
    """Code: ``positions``. Each cell of a window around the soft centre, not the centre, is clamped to
    a .. extent - 1 - a with a = (l - 1) / 2, then truncated: keys nearer to the border are never reached,
    and border windows repeat cells. Correct: the rounded centre is clamped, all cells are distinct."""
    offset: Literal["absolute", "missing"] = "absolute"
    """Code: ``missing``. Displacement = expected coordinate in the window minus coordinate in the tile: a
    translation that moves the window leaves no trace. Correct: both as positions in the frame. With
    ``missing`` there is no centre for ``window.centre_gradient`` to reach."""
    parity: Literal["off", "zero_coord", "subsample"] = "off"
    """Code: ``zero_coord``. Cells with an odd index in the window count as its first cell while their
    attention stays. Correct: ``off``; ``subsample`` is what may have been meant, attention to even cells only."""
    key_mean: Literal["window", "channels"] = "window"
    """Code: ``channels``. What the corresponding-window loss follows is the mean over channels of every cell's
    key (P, T, L). Correct: the mean over the window's cells (P, T, E)."""
    window_norm: Literal["squared", "plain"] = "squared"
    """Code: ``plain``, the distance. Correct: the squared distance."""
    self_pairs: Literal[False, True] = False
    """Code: ``true``. Every frame is also paired with itself, densely and with weight 1. Correct: none."""
    pair_range: Literal["paper", "code"] = "paper"
    """Code: ``code``. Frames up to sf - 1 ahead, weight 1 - alpha d / (sf - 1) at distance d. Correct: up to
    sf ahead, weight 1 - alpha (d - 1) / (sf - 1)."""
    spatial_reduction: Literal["guidance", "mean", "sum"] = "guidance"
    """Code: ``sum`` over a frame's tokens, which leaves the corresponding-window loss next to no say. The paper
    does not settle it; ``mean`` keeps the two losses' weights independent of the resolution; ``guidance`` takes
    ``guidance.reduction``."""
    latent_dtype: Literal["float32", "bfloat16"] = "float32"
    """Code: ``bfloat16`` latents, optimiser and trajectory: entries of magnitude 1 and more do not feel a
    step of 0.003. Correct: ``float32``. Here the sum of an Euler step is rounded, not its product."""
    timestep_dtype: Literal["float32", "bfloat16"] = "float32"
    """Code: ``bfloat16``. The timestep is rounded (spacing 4 above 512), and the reference is noised to the
    schedule's level nearest to the rounded one. Correct: ``float32``."""
    ref_noise: Literal["independent", "init"] = "independent"
    """Code: ``independent``, noise of its own although the start noise is passed. Both are legitimate;
    ``init`` uses the start noise, and the reference is then read anew for every seed."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            check_choice(f"method.switches.{name}", getattr(self, name), get_args(hint))
