"""What every score is: written into the record of whatever computes it, beside the weights and the tracker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Definition:
    """One score in words."""

    definition: str
    source: str
    """The paper or released code that defines it."""
    range: str
    limits: str
    """When not to trust it."""
    version: int = 1
    """Rises with every change of what the score says about a video."""


YATIM, VBENCH, DET = "Yatim et al., 2024, Section 5.1", "VBench (Huang et al., 2024)", "DeT (Shi et al., 2025)"
COSINE, SHARE = "-1..1", "0..1"
CHANCE = "chance level rises as frames get fewer: equal T, tracker and size only; blind to where motion happens"
RELEASED = "n/a if one point rests for one step; equal tracker, grid, T and size only"
FROZEN = "a frozen video scores 1"
STAND_IN = "not comparable with VBench's column"

DEFINITIONS: dict[str, Definition] = {
    "motion_fidelity": Definition(
        "mean over tracks of the best mean cosine of simultaneous steps with a track of the other video, both ways, "
        "two resting steps agree; columns weighted by speed, of a mask, to true tracks; coverage and speed beside",
        f"{YATIM}, made robust",
        COSINE,
        f"{CHANCE}; low_coverage, low_texture",
        2,
    ),
    "motion_fidelity_precision": Definition("its direction from generated tracks", YATIM, COSINE, CHANCE, 2),
    "motion_fidelity_recall": Definition("its direction from reference tracks", YATIM, COSINE, CHANCE, 2),
    "motion_fidelity_hybrid": Definition(
        "half motion_fidelity, half mean over reference tracks of the best exp(-discrete Frechet distance / 0.1)",
        f"what {DET} intends; Eiter and Mannila, 1994",
        "-0.5..1",
        CHANCE,
        2,
    ),
    "motion_fidelity_paper": Definition(
        "as written, halved: cosines of all tracks, 0 where one rests", YATIM, COSINE, CHANCE
    ),
    "motion_fidelity_compat_smm": Definition(
        "one-sided, the identity subtracted", "code released with Yatim et al., 2024", COSINE, RELEASED
    ),
    "motion_fidelity_compat_ditflow": Definition(
        "compat_smm of min(T) frames", "code released with DiTFlow (Pondaven et al., 2025)", COSINE, RELEASED
    ),
    "motion_fidelity_compat_det": Definition(
        "one-sided, positions divided by width and height, the first position counted as a step",
        f"code released with {DET}",
        COSINE,
        RELEASED,
    ),
    "trajectory": Definition(
        "cosine of displacements from frame 0 with the true ones of camera, object centres or points on objects",
        "own definition",
        COSINE,
        "generated worlds only; n/a at low confidence, which smeared objects mostly pass",
        2,
    ),
    "text_similarity": Definition(
        "mean cosine of CLIP embeddings of frames and prompt, times scale",
        "CLIP (Radford et al., 2021), as DiTFlow",
        "-1..1 times scale",
        "never across encoders; prompts are read up to the context (prompt_truncated)",
    ),
    "text_similarity_l14": Definition(
        "text_similarity with CLIP ViT-L/14", "CLIP (Radford et al., 2021)", "-1..1 times scale", "as text_similarity"
    ),
    "temporal_consistency": Definition(
        "mean cosine of CLIP embeddings of neighbouring frames", "Esser et al., 2023", COSINE, FROZEN
    ),
    "background_consistency": Definition(
        "mean of clamped cosines of CLIP features with the first and the previous frame",
        VBENCH,
        SHARE,
        f"{FROZEN}; no background is cut out",
    ),
    "subject_consistency": Definition(
        "mean of clamped cosines of DINO features with the first and the previous frame", VBENCH, SHARE, FROZEN
    ),
    "temporal_consistency_dino": Definition(
        "mean cosine of DINO features with the first and the previous frame", DET, COSINE, FROZEN
    ),
    "temporal_consistency_dino_self": Definition(
        "temporal_consistency_dino with frame 0 compared with itself", f"code released with {DET}", COSINE, FROZEN
    ),
    "aesthetic_quality": Definition(
        "mean of LAION's linear head on CLIP ViT-L/14 features / 10",
        VBENCH,
        "about 0.4..0.7, not clamped",
        "says nothing of motion or prompt",
    ),
    "motion_smoothness": Definition(
        "1 - mean error / 255 of every second frame as AMT-S predicts it", VBENCH, SHARE, FROZEN
    ),
    "motion_smoothness_flow": Definition(
        "motion_smoothness with half-way warps along DIS flow", VBENCH, SHARE, f"{FROZEN}; {STAND_IN}"
    ),
    "dynamic_degree": Definition(
        "1 if round(n / 4) pairs of n sampled frames move by 6 side / 256 pixels in their fastest 5 %; _speed: mean",
        VBENCH,
        "0 or 1; speed >= 0",
        "n/a below 4 sampled frames or 128 pixels; depends on the stated frame rate",
    ),
    "dynamic_degree_flow": Definition("dynamic_degree with DIS flow", VBENCH, "0 or 1; speed >= 0", STAND_IN),
    "temporal_flickering": Definition(
        "1 - mean change of a pixel / 255", VBENCH, SHARE, "motion lowers it as flicker does: for static scenes"
    ),
}
"""By the names of ``metrics.names``."""
