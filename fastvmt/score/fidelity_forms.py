"""The forms of motion fidelity that a configuration can ask for."""

from __future__ import annotations

from fastvmt.score.motion_fidelity import COLUMNS, MotionFidelity
from fastvmt.score.networks import Networks
from fastvmt.score.registry import score

YATIM, DET = "Yatim et al., 2024, Section 5.1", "DeT (Shi et al., 2025)"
COSINE = "-1..1"
CHANCE = (
    "frames are few (unguided clips score 0.52 at 9 frames), or T, tracker or size are not equal; it is blind to where "
    "motion happens: a reversed zoom or rotation scores near 1"
)
RELEASED = "tracker, grid, T or size are not those of the published number; n/a if one point rests for one step"


@score(
    "motion_fidelity",
    definition="mean over tracks of the best mean cosine of simultaneous steps with a track of the other video, both "
    "ways, two resting steps agree; columns weighted by speed, of a mask, to true tracks; coverage and speed beside",
    source=f"{YATIM}, made robust",
    range=COSINE,
    limits=f"{CHANCE}; low_coverage, low_texture, or a static background that fills the frame: then read _dynamic",
    version=2,
    needs=("reference", "truth", "mask"),
    columns=COLUMNS,
    head="motion",
)
def robust(networks: Networks) -> MotionFidelity:
    return MotionFidelity(networks.tracker)


@score(
    "motion_fidelity_precision",
    definition="its direction from generated tracks",
    source=YATIM,
    range=COSINE,
    limits="as motion_fidelity",
    version=2,
    needs=("reference",),
)
def precision(networks: Networks) -> MotionFidelity:
    return MotionFidelity(networks.tracker, "precision")


@score(
    "motion_fidelity_recall",
    definition="its direction from reference tracks",
    source=YATIM,
    range=COSINE,
    limits="as motion_fidelity",
    version=2,
    needs=("reference",),
)
def recall(networks: Networks) -> MotionFidelity:
    return MotionFidelity(networks.tracker, "recall")


@score(
    "motion_fidelity_hybrid",
    definition="half motion_fidelity, half mean over reference tracks of the best exp(-discrete Frechet distance / "
    "0.1)",
    source=f"what {DET} intends; Eiter and Mannila, 1994",
    range="-0.5..1",
    limits="as motion_fidelity",
    version=2,
    needs=("reference",),
)
def hybrid(networks: Networks) -> MotionFidelity:
    return MotionFidelity(networks.tracker, "hybrid")


@score(
    "motion_fidelity_paper",
    definition="as written, halved: cosines of all tracks, 0 where one rests",
    source=YATIM,
    range=COSINE,
    limits="as motion_fidelity",
    needs=("reference",),
)
def paper(networks: Networks) -> MotionFidelity:
    return MotionFidelity(networks.tracker, "paper")


@score(
    "motion_fidelity_compat_smm",
    definition="one-sided, the identity subtracted",
    source="code released with Yatim et al., 2024",
    range=COSINE,
    limits=RELEASED,
    needs=("reference",),
)
def compat_smm(networks: Networks) -> MotionFidelity:
    return MotionFidelity(networks.tracker, "compat_smm")


@score(
    "motion_fidelity_compat_ditflow",
    definition="compat_smm of min(T) frames",
    source="code released with DiTFlow (Pondaven et al., 2025)",
    range=COSINE,
    limits=RELEASED,
    needs=("reference",),
)
def compat_ditflow(networks: Networks) -> MotionFidelity:
    return MotionFidelity(networks.tracker, "compat_ditflow")


@score(
    "motion_fidelity_compat_det",
    definition="one-sided, positions divided by width and height, the first position counted as a step",
    source=f"code released with {DET}",
    range=COSINE,
    limits=RELEASED,
    needs=("reference",),
)
def compat_det(networks: Networks) -> MotionFidelity:
    return MotionFidelity(networks.tracker, "compat_det")
