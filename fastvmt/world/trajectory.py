"""Does a generated video follow the *known* motion of a generated-world reference?

Motion fidelity compares tracks with tracks and saturates; here the reference's true trajectory is
known, and the generated video's is measured: cameras by similarity transforms, objects by finding
their sprites, objects that stay in place by the points on them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fastvmt.score.tracklets import tracklets
from fastvmt.settings import check_choice
from fastvmt.trackers.base import Tracker, Tracks
from fastvmt.trackers.dis import one_thread
from fastvmt.types import Truth, Video
from fastvmt.world.locate import ObjectPath, object_paths
from fastvmt.world.motion import CATEGORIES
from fastvmt.world.pose import pose_path

Float = NDArray[np.float64]

MOVES = 0.03
"""Displacement, in frame sides, from which a trajectory counts as motion."""
INLIER = 0.02
"""Distance from a common similarity up to which a track's step agrees with it, in frame sides: generated textures
are not rigid, and at a quarter of it a camera that is measured right (cosine 0.98) has less than half of the tracks."""
LEAST_TRACKS = 12
"""Fewer common tracks do not determine a camera step."""
HINGE = 0.04
"""Points this close to a sprite's waist, in sprite sides, are left out: a nod moves the upper half only,
and a hair's breadth would decide which half they belong to."""
GRID = 5
"""Points per side at which cameras are compared."""


@dataclass(frozen=True)
class TrajectoryScore:
    """How a generated trajectory agrees with the true one."""

    cosine: float
    """In [-1, 1]; NaN where undefined, see ``note``."""
    confidence: float
    """How surely the generated trajectory was measured, in [0, 1]: sprite fit, or share of tracks that agree."""
    note: str
    """Which trajectory was compared, or why there is no score."""


def trajectory_cosine(
    generated: Video, truth: Truth, category: str, sprites: Sequence[NDArray[np.float32]], tracker: Tracker
) -> TrajectoryScore:
    """Cosine between the true and the measured displacements from the first frame, in [-1, 1]; own definition.

    Args:
        generated: as many frames, of the same size, as the reference that ``truth`` describes.
        category: ``camera`` compares similarity transforms at a grid of points; ``single_object`` and
            ``multi_object`` compare centre paths, or points on the object if no centre moves;
            ``articulated`` compares points on the objects.
        sprites: of the prompted objects (premultiplied RGBA). Which of them plays which object of the reference
            a prompt does not say: centre paths are compared in the order that agrees best, and an unguided
            video has the same choice. On the surface, the k-th plays the k-th.

    Raises ``ValueError`` when the numbers of frames or of objects differ, or for an unknown category.

    Example:
        >>> from fastvmt.trackers.dis import DisTracker
        >>> still, seen = Video(torch.zeros(9, 64, 64, 3, dtype=torch.uint8), fps=8), torch.ones(20, 9).bool()
        >>> right = 32 * torch.rand(20, 1, 2) + torch.arange(9.0)[:, None] * torch.tensor([2.0, 0.0])
        >>> truth = Truth(torch.zeros(0, 9, 2), right, seen, torch.full((20,), -1))
        >>> trajectory_cosine(still, truth, "camera", [], DisTracker()).cosine  # a still video follows nothing
        0.0
    """
    frames, height, width = generated.size
    if frames != truth.tracks_NT2.shape[1]:
        raise ValueError(f"generated video has {frames} frames, its reference's truth {truth.tracks_NT2.shape[1]}")
    check_choice("category", category, CATEGORIES)
    side = min(height, width)
    if category == "camera":
        return camera_cosine(generated, truth, tracker)
    centres = truth.centres_KT2.numpy().astype(np.float64)
    if len(sprites) < len(centres):
        raise ValueError(f"the reference moves {len(centres)} objects, {len(sprites)} are prompted: name as many")
    paths = object_paths(generated.frames_THWC, sprites)[: len(centres)]
    true = displacements(centres)
    if category != "articulated" and _moves(true, side):
        measured = displacements(np.stack([path.centres_T2 for path in paths]).astype(np.float64))
        casts = [measured[list(order)] for order in permutations(range(len(measured)))]
        best = max(casts, key=lambda cast: np.nan_to_num(cosine(cast, true), nan=-1.0))
        return agreement(best, true, side, _surety(paths), "object centres")
    return surface_cosine(generated, truth, sprites[: len(centres)], paths)


def displacements(path_KT2: Float) -> Float:
    """path_t - path_0 for all t > 0."""
    return path_KT2[:, 1:] - path_KT2[:, :1]


def cosine(a: Float, b: Float) -> float:
    """Cosine between two sets of displacements laid out as one vector each; NaN if either is 0."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / size if size > 0 else math.nan


def camera_cosine(generated: Video, truth: Truth, tracker: Tracker) -> TrajectoryScore:
    """Cosine of the displacements that the true and the measured camera give a grid of frame points."""
    _, height, width = generated.size
    background = truth.owner_N < 0
    known = Tracks(truth.tracks_NT2[background], torch.ones_like(truth.visible_NT[background], dtype=torch.bool))
    points = np.stack(np.meshgrid(np.linspace(0, width - 1, GRID), np.linspace(0, height - 1, GRID)), -1)
    side = min(height, width)
    true = displacements(moved(points.reshape(-1, 2), camera_path(known, side)[0]))
    transforms, share = camera_path(tracklets(generated, tracker), side)
    measured = displacements(moved(points.reshape(-1, 2), transforms))
    return agreement(measured, true, side, share, "camera")


def camera_path(tracks: Tracks, side: int) -> tuple[Float, float]:
    """Similarity transforms (T, 2, 3) from frame 0 to every frame, and the mean share of inlying tracks.

    Steps between neighbouring frames are fitted by RANSAC to the tracks visible in both and chained,
    so that a fast camera may leave the first frame behind. A step with too few tracks is no motion,
    with no inliers.
    """
    points, visible = tracks.points_NT2.numpy(), tracks.visible_NT.numpy()
    whole = np.eye(3)
    path = [whole[:2]]
    shares = []
    for t in range(points.shape[1] - 1):
        both = visible[:, t] & visible[:, t + 1]
        step, share = similarity(points[both, t], points[both, t + 1], INLIER * side)
        whole = np.vstack([step, [0, 0, 1]]) @ whole
        path.append(whole[:2])
        shares.append(share)
    return np.stack(path), float(np.mean(shares))


def similarity(before_N2: NDArray[np.float32], after_N2: NDArray[np.float32], inlier: float) -> tuple[Float, float]:
    """The similarity (2, 3) that most point pairs agree on to ``inlier`` pixels, and their share; identity and 0
    if undetermined."""
    if len(before_N2) < LEAST_TRACKS:
        return np.eye(2, 3), 0.0
    cv2.setRNGSeed(0)
    with one_thread():
        found, inliers = cv2.estimateAffinePartial2D(
            before_N2, after_N2, method=cv2.RANSAC, ransacReprojThreshold=inlier
        )
    return (np.eye(2, 3), 0.0) if found is None else (np.asarray(found, np.float64), float(np.mean(inliers)))


def moved(points_N2: Float, transforms_T23: Float) -> Float:
    """Points (N, T, 2) under every transform."""
    turned = np.einsum("tij,nj->nti", transforms_T23[:, :, :2], points_N2)
    return np.asarray(turned + transforms_T23[None, :, :, 2], np.float64)


def surface_cosine(
    generated: Video, truth: Truth, sprites: Sequence[NDArray[np.float32]], paths: list[ObjectPath]
) -> TrajectoryScore:
    """Cosine over points on the objects, carried to the generated objects' places in frame 0.

    The points follow the pose of the generated sprite. Steps where the true point is hidden are left out.
    """
    height, width = generated.size[1:]
    side = min(height, width)
    true_paths = []
    measured_paths = []
    for k, (sprite, path) in enumerate(zip(sprites, paths, strict=True)):
        mine = (truth.owner_N == k) & truth.visible_NT[:, 0]
        points = truth.tracks_NT2[mine].numpy().astype(np.float64)
        seeds = points[:, 0] - truth.centres_KT2[k, 0].numpy() + path.centres_T2[0]
        pose = pose_path(generated.frames_THWC, sprite, path)
        origin = (np.array([width, height]) - 1) / 2
        on_sprite = pose.to_sprite((seeds - origin) / side, 0)
        carried = np.stack([pose.to_screen(on_sprite, t) for t in range(points.shape[1])], 1) * side
        clear = np.abs(on_sprite[:, 1]) > HINGE
        seen = truth.visible_NT[mine, 1:, None].numpy() & clear[:, None, None]
        true_paths.append(displacements(points) * seen)
        measured_paths.append(displacements(carried) * seen)
    measured, true = np.concatenate(measured_paths), np.concatenate(true_paths)
    return agreement(measured, true, side, _surety(paths), "points on the objects")


def agreement(measured: Float, true: Float, side: int, confidence: float, what: str) -> TrajectoryScore:
    """The score of displacements; undefined for a still truth, 0 for a still video, whose cosine is noise."""
    if not _moves(true, side):
        return TrajectoryScore(math.nan, confidence, f"undefined: the reference stands still ({what})")
    if not _moves(measured, side):
        return TrajectoryScore(0.0, confidence, f"the generated video stands still ({what})")
    return TrajectoryScore(cosine(measured, true), confidence, what)


def _moves(displacement_KT2: Float, side: int) -> bool:
    return bool(np.linalg.norm(displacement_KT2, axis=-1).max(initial=0) >= MOVES * side)


def _surety(paths: list[ObjectPath]) -> float:
    return float(np.clip(np.mean([path.confidence for path in paths]), 0, 1))
