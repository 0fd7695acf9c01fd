"""Numbers that papers report, to stand beside a study's: another backbone, other clips, other judges.

They are never subtracted from ours. Sources: FastVMT, arXiv 2602.05551, its main comparison, components and gradient
reuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CONDITIONS = "Wan2.1, 480 x 832, 81 frames (baselines 32), 50 steps, CLIP and tracker of the authors"


@dataclass(frozen=True)
class Published:
    """A table as a paper has it."""

    source: str
    conditions: str
    rows: Mapping[str, Mapping[str, float]]
    """By the name that the row has in the study, where it has one."""


def scores(text: float, fidelity: float, temporal: float, seconds: float) -> dict[str, float]:
    """Name the columns of FastVMT's tables."""
    return {
        "motion_fidelity": fidelity,
        "text_similarity": text,
        "temporal_consistency": temporal,
        "total_seconds": seconds,
    }


TABLES = {
    "fastvmt_main": Published(
        "FastVMT, main comparison",
        CONDITIONS,
        {
            "fastvmt": scores(0.2422, 0.7471, 0.9865, 184.18),
            "ditflow": scores(0.2091, 0.4062, 0.9822, 626.83),
            "smm": scores(0.2374, 0.7353, 0.9366, 809.70),
            "motionclone": scores(0.2304, 0.7315, 0.9722, 397.05),
            "moft": scores(0.2297, 0.6511, 0.9797, 595.81),
            "det": scores(0.2187, 0.6116, 0.9818, 2745.60),
            "motion_director": scores(0.2336, 0.4524, 0.9531, 806.64),
            "motion_inversion": scores(0.2388, 0.6515, 0.9605, 632.41),
        },
    ),
    "fastvmt_components": Published(
        "FastVMT, components",
        CONDITIONS,
        {
            "full": scores(0.2422, 0.7471, 0.9865, 184.0),
            "without_window": scores(0.2352, 0.6912, 0.9654, 227.0),
            "without_window_loss": scores(0.2345, 0.5942, 0.9762, 183.0),
            "without_reuse": scores(0.2317, 0.7044, 0.9881, 302.0),
        },
    ),
    "fastvmt_delta": Published(
        "FastVMT, gradient reuse",
        f"{CONDITIONS}; skipping 0 to 3 steps is read as Delta 1 to 4",
        {
            "delta=1": {"total_seconds": 284.3},
            "delta=2": {"total_seconds": 186.7},
            "delta=3": {"total_seconds": 173.9},
            "delta=4": {"total_seconds": 160.6},
        },
    ),
}
"""By the name that a study's ``table.published`` gives."""
