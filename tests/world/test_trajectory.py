"""Trajectory scores on clips whose motion is known."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from fastvmt.trackers.base import Tracks
from fastvmt.trackers.dis import DisTracker
from fastvmt.types import Truth, Video
from fastvmt.world.locate import ObjectPath, object_paths
from fastvmt.world.pose import pose_path
from fastvmt.world.scene import WorldClip, render, sample_scene, sprite
from fastvmt.world.scores import SURE_CAMERA
from fastvmt.world.trajectory import camera_path, cosine, displacements, trajectory_cosine


def clip_of(category: str, seed: int, motion: str = "") -> WorldClip:
    """A world clip, of one kind of motion if asked."""
    for k in range(seed, seed + 200):
        scene = sample_scene(np.random.default_rng(k), 9, category)
        if motion in ("", scene.motion):
            return render(scene, 96)
    raise AssertionError(f"no {motion}")


def truth_of(clip: WorldClip) -> Truth:
    arrays = clip.centres_KT2, clip.tracks_NT2, clip.visible_NT, clip.owner_N
    return Truth(*(torch.from_numpy(array) for array in arrays))


def video_of(clip: WorldClip) -> Video:
    return Video(torch.from_numpy(clip.frames_THWC), 8.0)


def object_path(frames_THWC: torch.Tensor, sprite_rgba: np.ndarray) -> ObjectPath:
    return object_paths(frames_THWC, [sprite_rgba])[0]


def rough(video: Video) -> Video:
    """What an imperfect generator draws: pale, blurred, noisy."""
    rng = np.random.default_rng(0)
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in video.frames_THWC.numpy()]).astype(np.float32)
    pale = 0.75 * soft + 0.25 * soft.mean((0, 1, 2)) + rng.normal(0, 5, soft.shape)
    return Video(torch.from_numpy(pale.clip(0, 255).astype(np.uint8)), video.fps)


def score(generated: Video, clip: WorldClip) -> float:
    sprites = [sprite(name) for name in clip.scene.objects]
    return trajectory_cosine(generated, truth_of(clip), clip.scene.category, sprites, DisTracker()).cosine


@pytest.mark.parametrize("seed", range(6))
def test_sprites_are_located(seed: int) -> None:
    clip = clip_of("single_object", seed)
    for video, limit in ((video_of(clip), 0.5), (rough(video_of(clip)), 1.5)):
        found = object_path(video.frames_THWC, sprite(clip.scene.objects[0]))
        error = np.linalg.norm(found.centres_T2 - clip.centres_KT2[0], axis=-1)
        assert np.median(error) < limit
        assert found.confidence > 0.5
    size = clip.scene.poses[0].size[0] * 96
    assert abs(math.log(found.sizes_T[0] / size)) < 0.2


def test_a_prompt_does_not_say_which_object_plays_which() -> None:
    clip = clip_of("multi_object", 1)
    swapped = [sprite(name) for name in reversed(clip.scene.objects)]
    found = trajectory_cosine(video_of(clip), truth_of(clip), "multi_object", swapped, DisTracker())
    assert found.cosine == pytest.approx(score(video_of(clip), clip), abs=1e-9)
    assert found.cosine > 0.9


def test_an_absent_sprite_has_low_confidence() -> None:
    clip = clip_of("single_object", 0)
    absent = next(name for name in ("donut", "frog", "rocket") if name not in clip.scene.objects)
    present = object_path(video_of(clip).frames_THWC, sprite(clip.scene.objects[0]))
    assert object_path(video_of(clip).frames_THWC, sprite(absent)).confidence < 0.7 * present.confidence


def test_paths_scale_with_the_frame_and_bridge_a_lost_frame() -> None:
    clip = clip_of("single_object", 3, "line")
    small = video_of(clip).frames_THWC
    found = object_path(small, sprite(clip.scene.objects[0]))
    large = small.repeat_interleave(2, 1).repeat_interleave(2, 2)
    doubled = object_path(large, sprite(clip.scene.objects[0]))
    assert np.abs((doubled.centres_T2 + 0.5) / 2 - 0.5 - found.centres_T2).max() < 0.3
    assert doubled.sizes_T == pytest.approx(2 * found.sizes_T)
    broken = small.clone()
    broken[4] = small.float().mean((0, 1, 2)).byte()  # one frame without the object
    bridged = object_path(broken, sprite(clip.scene.objects[0]))
    assert np.linalg.norm(bridged.centres_T2 - found.centres_T2, axis=-1)[[0, 1, 2, 6, 7, 8]].max() < 1


def test_two_sprites_do_not_share_a_place() -> None:
    errors = []
    for seed in range(5):
        clip = clip_of("multi_object", seed)
        paths = object_paths(video_of(clip).frames_THWC, [sprite(name) for name in clip.scene.objects])
        errors += [np.linalg.norm(p.centres_T2 - c, axis=-1) for p, c in zip(paths, clip.centres_KT2, strict=True)]
    assert np.median(np.concatenate(errors)) < 0.5


@pytest.mark.parametrize("motion", ["spin", "squash"])
def test_pose_follows_a_deforming_sprite(motion: str) -> None:
    clip = clip_of("articulated", 0, motion)
    video, texture = video_of(clip), sprite(clip.scene.objects[0])
    pose = pose_path(video.frames_THWC, texture, object_path(video.frames_THWC, texture))
    true = clip.scene.poses[0]
    assert np.abs(pose.position - true.position).max() < 0.02
    assert np.abs(pose.angle - true.angle).max() < 0.15
    assert np.abs(np.log(pose.stretch / true.stretch)).max() < 0.12


@pytest.mark.parametrize(
    ("category", "motion"),
    [
        ("camera", "pan"),
        ("camera", "zoom"),
        ("camera", "rotate"),
        ("single_object", "line"),
        ("single_object", "scale"),
        ("multi_object", "line"),
        ("articulated", "swing"),
        ("articulated", "squash"),
    ],
)
def test_a_reference_follows_itself_and_a_frozen_video_nothing(category: str, motion: str) -> None:
    clip = clip_of(category, 1, motion)
    symmetric = category == "articulated"  # a flower turned by a petal looks the same
    assert score(video_of(clip), clip) >= (0.95 if symmetric else 0.97)
    frozen = Video(video_of(clip).frames_THWC[:1].expand(9, -1, -1, -1).contiguous(), 8.0)
    assert score(frozen, clip) == 0


@pytest.mark.parametrize("motion", ["line", "bounce"])
def test_a_rough_rendering_of_the_same_path_scores_high(motion: str) -> None:
    """Imperfect pixels, same motion; and the reversed path is opposite."""
    clip = clip_of("single_object", 0, motion)
    assert score(rough(video_of(clip)), clip) >= 0.97
    if motion == "line":
        assert score(Video(video_of(clip).frames_THWC.flip(0), 8.0), clip) < -0.9


def test_camera_path_recovers_a_similarity_among_outliers() -> None:
    g = torch.Generator().manual_seed(0)
    start = 96 * torch.rand(200, 2, generator=g)
    angles = 0.03 * torch.arange(9)
    turn = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], -1).view(9, 2, 2)
    true = 1.02 ** torch.arange(9)[None, :, None] * torch.einsum("tij,nj->nti", turn, start)
    points = true.clone()
    points[:60] = 96 * torch.rand(60, 1, 2, generator=g) + torch.arange(9)[None, :, None] * 9.0
    path, agreement = camera_path(Tracks(points, torch.ones(200, 9, dtype=torch.bool)), 96)
    again = np.einsum("tij,nj->nti", path[:, :, :2], start.numpy()) + path[:, :, 2]
    assert np.abs(again - true.numpy()).max() < 0.2
    assert agreement == pytest.approx(0.7, abs=0.05)
    assert camera_path(Tracks(points[:3], torch.ones(3, 9, dtype=torch.bool)), 96)[1] == 0


def wobbling(video: Video, amplitude: float) -> Video:
    """Every frame warped by a smooth field of its own, at most ``amplitude`` pixels: a texture that is not rigid."""
    rng, (_, height, width) = np.random.default_rng(3), video.size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    frames = []
    for frame in video.frames_THWC.numpy():
        dy, dx = (
            cv2.resize(
                rng.uniform(-amplitude, amplitude, (6, 6)).astype(np.float32),
                (width, height),
                interpolation=cv2.INTER_CUBIC,
            )
            for _ in range(2)
        )
        frames.append(cv2.remap(frame, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))
    return Video(torch.from_numpy(np.stack(frames)), video.fps)


@pytest.mark.parametrize("motion", ["pan", "zoom", "rotate"])
def test_a_camera_is_measured_surely_before_a_texture_that_is_not_rigid(motion: str) -> None:
    clip = clip_of("camera", 1, motion)
    truth, names = truth_of(clip), [sprite(name) for name in clip.scene.objects]
    soft = trajectory_cosine(wobbling(video_of(clip), 1.5), truth, "camera", names, DisTracker())
    assert soft.confidence >= SURE_CAMERA
    assert soft.cosine > 0.97
    noise = torch.randint(256, video_of(clip).frames_THWC.shape, generator=torch.Generator().manual_seed(0))
    meaningless = trajectory_cosine(Video(noise.byte(), 8.0), truth, "camera", names, DisTracker())
    assert meaningless.confidence < SURE_CAMERA


def test_cosine() -> None:
    path = np.random.default_rng(0).normal(size=(2, 9, 2))
    steps = displacements(path)
    assert cosine(steps, 3 * steps) == pytest.approx(1)
    assert cosine(steps, -steps) == pytest.approx(-1)
    assert math.isnan(cosine(steps, 0 * steps))
    assert np.allclose(displacements(path + 5), steps)


def test_undefined_and_illegal() -> None:
    clip = clip_of("camera", 0)
    still = Truth(
        *(
            torch.from_numpy(a)
            for a in (
                clip.centres_KT2[:, :1].repeat(9, 1),
                clip.tracks_NT2[:, :1].repeat(9, 1),
                clip.visible_NT,
                clip.owner_N,
            )
        )
    )
    names = [sprite(name) for name in clip.scene.objects]
    for category in ("camera", "articulated"):
        result = trajectory_cosine(video_of(clip), still, category, names, DisTracker())
        assert math.isnan(result.cosine) and "stand" in result.note
    with pytest.raises(ValueError, match="category=dance"):
        trajectory_cosine(video_of(clip), still, "dance", names, DisTracker())
    with pytest.raises(ValueError, match="0 are prompted"):
        trajectory_cosine(video_of(clip), still, "single_object", [], DisTracker())
    with pytest.raises(ValueError, match="8 frames"):
        trajectory_cosine(Video(video_of(clip).frames_THWC[:8], 8.0), still, "camera", names, DisTracker())
