"""Scores of motion transfer: pure functions, torchmetrics classes that compute them, and a registry of all.

``robust`` is motion fidelity, ``vbench_consistency`` subject and background consistency: modules have those names.
"""

import fastvmt.torchvision_ops  # noqa: F401  before torchmetrics and open_clip import torchvision

# isort: split
from fastvmt.score.aesthetic import AestheticQuality, aesthetic_quality
from fastvmt.score.consistency import (
    BackgroundConsistency,
    DinoConsistency,
    SubjectConsistency,
    TemporalConsistency,
    det_consistency,
    temporal_consistency,
)
from fastvmt.score.consistency import consistency as vbench_consistency
from fastvmt.score.dynamic import DynamicDegree, dynamic_degree
from fastvmt.score.flicker import TemporalFlickering, temporal_flickering
from fastvmt.score.frechet import hybrid
from fastvmt.score.functional import motion_fidelity as robust
from fastvmt.score.motion_fidelity import MotionFidelity, score_motion
from fastvmt.score.published import compat_det, compat_ditflow, compat_smm, paper
from fastvmt.score.similarity import TextSimilarity, text_similarity
from fastvmt.score.smoothness import MotionSmoothness, motion_smoothness

__all__ = [
    "AestheticQuality",
    "BackgroundConsistency",
    "DinoConsistency",
    "DynamicDegree",
    "MotionFidelity",
    "MotionSmoothness",
    "SubjectConsistency",
    "TemporalConsistency",
    "TemporalFlickering",
    "TextSimilarity",
    "aesthetic_quality",
    "compat_det",
    "compat_ditflow",
    "compat_smm",
    "det_consistency",
    "dynamic_degree",
    "hybrid",
    "motion_smoothness",
    "paper",
    "robust",
    "score_motion",
    "temporal_consistency",
    "temporal_flickering",
    "text_similarity",
    "vbench_consistency",
]
