"""Scores of motion transfer: pure functions, torchmetrics classes that compute them, and a registry of all.

``robust`` is motion fidelity, ``vbench_consistency`` subject and background consistency: modules have those names.
A name's module is imported when the name is asked for: together they take seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

HOMES = {
    "aesthetic": (
        "AestheticQuality",
        "aesthetic_quality",
    ),
    "consistency": (
        "BackgroundConsistency",
        "DinoConsistency",
        "SubjectConsistency",
        "TemporalConsistency",
        "det_consistency",
        "temporal_consistency",
    ),
    "dynamic": (
        "DynamicDegree",
        "dynamic_degree",
    ),
    "flicker": (
        "TemporalFlickering",
        "temporal_flickering",
    ),
    "frechet": ("hybrid",),
    "motion_fidelity": (
        "MotionFidelity",
        "score_motion",
    ),
    "published": (
        "compat_det",
        "compat_ditflow",
        "compat_smm",
        "paper",
    ),
    "similarity": (
        "TextSimilarity",
        "text_similarity",
    ),
    "smoothness": (
        "MotionSmoothness",
        "motion_smoothness",
    ),
    "track_distance": (
        "TrackDistance",
        "cotracker_distance",
        "end_point_error",
    ),
}
"""Public names by module."""
RENAMED = {"robust": ("functional", "motion_fidelity"), "vbench_consistency": ("consistency", "consistency")}
"""Public names of what is called otherwise in its module."""
WHERE = {name: (module, name) for module, names in HOMES.items() for name in names} | RENAMED
__all__ = sorted(WHERE)


def __getattr__(name: str) -> Any:
    """Import what a public name stands for."""
    if name not in WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = WHERE[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)
