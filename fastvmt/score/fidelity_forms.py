"""The forms of motion fidelity that a configuration can ask for."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastvmt.score.motion_fidelity import COLUMNS, MotionFidelity
from fastvmt.score.networks import Networks
from fastvmt.score.registry import score

YATIM = "Yatim et al., 2024, Section 5.1"
DET = "DeT (Shi et al., 2025)"
COSINE = "-1..1"
OURS = "as motion_fidelity"
RELEASED = "tracker, grid, T or size are not those of the published number; n/a if one point rests for one step"
NEARNESS = "exp(-discrete Frechet distance / 0.1)"
KEYS = ("definition", "source", "range", "limits", "version")
FORMS = {
    "precision": ("its direction from generated tracks", YATIM, COSINE, OURS, 2),
    "recall": ("its direction from reference tracks", YATIM, COSINE, OURS, 2),
    "hybrid": (
        f"half motion_fidelity, half mean over reference tracks of the best {NEARNESS}",
        f"what {DET} intends; Eiter and Mannila, 1994",
        "-0.5..1",
        OURS,
        2,
    ),
    "paper": ("as written, halved: cosines of all tracks, 0 where one rests", YATIM, COSINE, OURS, 1),
    "compat_smm": (
        "one-sided, the identity subtracted",
        "code released with Yatim et al., 2024",
        COSINE,
        RELEASED,
        1,
    ),
    "compat_ditflow": (
        "compat_smm of min(T) frames",
        "code released with DiTFlow (Pondaven et al., 2025)",
        COSINE,
        RELEASED,
        1,
    ),
    "compat_det": (
        "one-sided, positions divided by width and height, the first position counted as a step",
        f"code released with {DET}",
        COSINE,
        RELEASED,
        1,
    ),
}
"""By mode: what ``KEYS`` name."""


@score(
    "motion_fidelity",
    definition="mean over tracks of the best mean cosine of simultaneous steps with a track of the other video, "
    "both ways, two resting steps agree; columns weighted by speed, of a mask, to true tracks; coverage and speed "
    "beside",
    source=f"{YATIM}, made robust",
    range=COSINE,
    limits="frames are few (unguided clips score 0.52 at 9 frames), or T, tracker or size are not equal; it is blind "
    "to where motion happens: a reversed zoom or rotation scores near 1; low_coverage, low_texture, or a static "
    "background that fills the frame: then read _dynamic",
    version=2,
    needs=("reference", "truth", "mask"),
    columns=COLUMNS,
    head="motion",
)
def form(networks: Networks, mode: str = "robust") -> MotionFidelity:
    return MotionFidelity(networks.tracker, mode)


for mode, row in FORMS.items():
    facts: dict[str, Any] = dict(zip(KEYS, row, strict=True))
    score(f"motion_fidelity_{mode}", needs=("reference",), **facts)(partial(form, mode=mode))
