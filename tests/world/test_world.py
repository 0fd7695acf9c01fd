"""The moving-emoji world: determinism, and truth that agrees with the pixels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from experiments.tiny_wan.captions import sample_caption
from fastvmt.world.motion import CATEGORIES, KINDS, Camera, Pose, articulated, camera, moving, still
from fastvmt.world.scene import WorldClip, pixel_grid, render, sample_scene, sprite
from fastvmt.world.texture import TEXTURES, background
from fastvmt.world.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    OBJECTS,
    canonical_caption,
    named,
    split_words,
    unknown_words,
    words,
)

FRAMES, SIZE = 9, 48
MOTION_WORDS = {
    "moving",
    "moves",
    "move",
    "running",
    "run",
    "flying",
    "jumping",
    "bouncing",
    "bounce",
    "falling",
    "rising",
    "rolling",
    "spinning",
    "turning",
    "swinging",
    "swaying",
    "nodding",
    "left",
    "right",
    "up",
    "down",
    "zoom",
    "pan",
    "rotate",
    "rotating",
    "line",
    "curve",
    "circle",
    "scale",
    "sway",
    "swing",
    "squash",
    "nod",
    "spin",
    "fast",
    "slow",
    "towards",
    "away",
    "across",
    "static",
    "camera",
    "growing",
    "shrinking",
}


def clip(seed: int, category: str | None = None) -> WorldClip:
    return render(sample_scene(np.random.default_rng(seed), FRAMES, category), SIZE)


CLIPS = [clip(seed, category) for category in CATEGORIES for seed in range(6)]


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_seed_determines_the_clip(category: str) -> None:
    first, second, other = clip(5, category), clip(5, category), clip(6, category)
    for name in ("frames_THWC", "masks_KTHW", "centres_KT2", "tracks_NT2", "visible_NT", "owner_N"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert first.scene.caption == second.scene.caption
    assert not np.array_equal(first.frames_THWC, other.frames_THWC)


@pytest.mark.parametrize("one", CLIPS, ids=lambda one: f"{one.scene.category}-{one.scene.motion}")
def test_shapes_and_ranges(one: WorldClip) -> None:
    count, tracks = len(one.scene.objects), len(one.owner_N)
    assert one.frames_THWC.shape == (FRAMES, SIZE, SIZE, 3)
    assert one.frames_THWC.dtype == np.uint8
    assert one.frames_THWC.std() > 10
    assert one.masks_KTHW.shape == (count, FRAMES, SIZE, SIZE)
    assert one.centres_KT2.shape == (count, FRAMES, 2)
    assert one.tracks_NT2.shape == (tracks, FRAMES, 2)
    assert one.visible_NT.shape == (tracks, FRAMES)
    assert set(one.owner_N) == {-1, *range(count)}
    assert one.masks_KTHW.sum(0).max() <= 1  # the visible parts do not overlap
    assert one.masks_KTHW.sum((2, 3)).min() > 20


@pytest.mark.parametrize("one", CLIPS, ids=lambda one: f"{one.scene.category}-{one.scene.motion}")
def test_visible_tracks_lie_on_their_owner(one: WorldClip) -> None:
    at = np.rint(one.tracks_NT2).astype(int)
    for track, owner, visible in zip(at, one.owner_N, one.visible_NT, strict=True):
        for t in np.flatnonzero(visible):
            x, y = track[t]
            on = one.masks_KTHW[:, t, y, x]
            assert on[owner] if owner >= 0 else not on.any()
    assert one.visible_NT[one.owner_N >= 0].mean() > 0.6
    assert one.visible_NT[one.owner_N < 0].mean() > 0.3


@pytest.mark.parametrize("one", CLIPS, ids=lambda one: f"{one.scene.category}-{one.scene.motion}")
def test_tracks_keep_their_place_on_the_sprite(one: WorldClip) -> None:
    """Read back through the inverse maps, a visible track is the same sprite point in every frame."""
    for k, pose in enumerate(one.scene.poses):
        tracks, visible = one.tracks_NT2[one.owner_N == k].astype(float), one.visible_NT[one.owner_N == k]
        points = np.stack(
            [pose.to_sprite(one.scene.camera.to_world((tracks[:, t] + 0.5) / SIZE - 0.5, t), t) for t in range(FRAMES)],
            1,
        )
        for path, seen in zip(points, visible, strict=True):
            assert np.ptp(path[seen], axis=0).max(initial=0.0) < 1e-3 if seen.any() else True


@pytest.mark.parametrize("kind", ["line", "curve", "bounce", "circle"])
@pytest.mark.parametrize("seed", range(3))
def test_mask_moves_as_the_true_centre(kind: str, seed: int) -> None:
    """A rigid sprite's mask centroid keeps its offset from the centre, to a fraction of a pixel."""
    scene = sample_scene(np.random.default_rng(seed), FRAMES, "single_object")
    pose = moving(np.random.default_rng(seed), FRAMES, 0.3, kind)
    one = render(replace(scene, objects=("ball",), motion=kind, poses=(pose,)), SIZE)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    centroid = np.array([[columns[m].mean(), rows[m].mean()] for m in one.masks_KTHW[0]])
    whole = (np.abs(pose.position) < 0.5 - 0.15).all(-1)  # not cut by the frame's border
    offset = (centroid - one.centres_KT2[0])[whole]
    assert whole.sum() >= 3
    assert np.ptp(one.centres_KT2[0], axis=0).max() > 5
    assert np.abs(offset - offset.mean(0)).max() < 0.35


def test_centres_and_tracks_are_pixels_of_the_rendered_size() -> None:
    scene = sample_scene(np.random.default_rng(1), FRAMES, "single_object")
    small, large = render(scene, 48), render(scene, 96)
    np.testing.assert_allclose(2 * small.centres_KT2 + 0.5, large.centres_KT2, atol=1e-3)
    np.testing.assert_allclose(2 * small.tracks_NT2 + 0.5, large.tracks_NT2, atol=1e-3)


def test_a_pixel_centre_is_its_index() -> None:
    assert pixel_grid(4)[0, :, 0] == pytest.approx([-0.375, -0.125, 0.125, 0.375])
    scene = sample_scene(np.random.default_rng(0), 1, "camera")
    middle = replace(scene, poses=(still(1, np.zeros(2), 0.4),) * len(scene.objects), camera=camera_at_rest())
    assert render(middle, 47).centres_KT2[0, 0] == pytest.approx([23.0, 23.0])


def camera_at_rest() -> Camera:
    return Camera(np.zeros((1, 2)), np.ones(1), np.zeros(1))


@pytest.mark.parametrize("kind", KINDS["articulated"])
@pytest.mark.parametrize("seed", range(3))
def test_to_sprite_inverts_to_screen(kind: str, seed: int) -> None:
    pose = articulated(np.random.default_rng(seed), FRAMES, 0.45, kind)
    points = pixel_grid(9).reshape(-1, 2)
    for t in range(FRAMES):
        # a nod turns the upper half over a part of the lower one, which is then out of sight
        visible = points if pose.nod[t] == 0 else points[points[:, 1] < 0]
        np.testing.assert_allclose(pose.to_sprite(pose.to_screen(visible, t), t), visible, atol=1e-9)
    extreme = int(np.argmax(np.abs(pose.nod)))
    lower = points[points[:, 1] > 0.4 * np.abs(np.sin(pose.nod[extreme]))]
    if kind == "nod":  # well below the neck nothing is covered
        far = lower[lower[:, 1] > np.abs(np.tan(pose.nod[extreme])) * np.abs(lower[:, 0])]
        np.testing.assert_allclose(pose.to_sprite(pose.to_screen(far, extreme), extreme), far, atol=1e-9)


def test_every_pose_parameter_is_inverted_together() -> None:
    rng = np.random.default_rng(0)
    pose = Pose(
        *(
            rng.uniform(low, high, shape)
            for low, high, shape in (
                (-0.2, 0.2, (4, 2)),
                (0.3, 0.5, 4),
                (-1, 1, 4),
                (0.7, 1.4, 4),
                (-0.4, 0.4, 4),
                (-0.5, 0.5, 4),
            )
        )
    )
    points = rng.uniform(-0.5, 0.5, (200, 2)) * [1, 0.5] - [0, 0.25]  # the upper half
    for t in range(4):
        np.testing.assert_allclose(pose.to_sprite(pose.to_screen(points, t), t), points, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS["camera"])
def test_to_world_inverts_to_screen(kind: str) -> None:
    path = camera(np.random.default_rng(0), FRAMES, kind)
    points = pixel_grid(5)
    moved = [path.to_screen(points, t) for t in range(FRAMES)]
    for t in range(FRAMES):
        np.testing.assert_allclose(path.to_world(moved[t], t), points, atol=1e-12)
    assert np.abs(moved[0] - moved[-1]).max() > 0.1


def test_tracks_follow_the_pixels_of_the_background() -> None:
    """Under a pure pan, the colours at a background track change by interpolation only."""
    scene = sample_scene(np.random.default_rng(2), FRAMES, "camera")
    path = camera(np.random.default_rng(2), FRAMES, "pan")
    one = render(replace(scene, camera=path, motion="pan", background="snow"), 96)
    mine = (one.owner_N == -1) & one.visible_NT[:, 0] & one.visible_NT[:, -1]
    ends = [one.frames_THWC[t][tuple(np.rint(one.tracks_NT2[mine, t]).astype(int).T[::-1])] for t in (0, FRAMES - 1)]
    agreeing = np.abs(ends[0].astype(float) - ends[1]).mean()
    shuffled = np.abs(ends[0].astype(float) - np.roll(ends[1], 7, 0)).mean()
    assert mine.sum() > 30
    assert agreeing < 0.5 * shuffled


def test_captions_say_what_is_there_and_not_how_it_moves() -> None:
    rng, known = np.random.default_rng(0), set(words())
    assert not known & MOTION_WORDS
    assert not known & {kind for kinds in KINDS.values() for kind in kinds}
    forms = set()
    for i in range(600):
        objects = [str(o) for o in rng.choice(list(OBJECTS), 1 + i % 2, replace=False)]
        place = list(BACKGROUNDS)[i % len(BACKGROUNDS)]
        caption = sample_caption(rng, objects, place)
        assert unknown_words(caption) == []
        assert sorted(named(caption, OBJECTS)) == sorted(objects)
        assert named(caption, BACKGROUNDS) == [place]
        forms.add(" ".join(w for w in split_words(caption) if w in {"with", "of", "on", "over", "in", "at", "above"}))
    assert len(forms) >= 6


def test_canonical_captions() -> None:
    assert canonical_caption(["dog", "balloon"], "grass") == "a dog and a balloon on grass"
    for name in OBJECTS:
        for place in BACKGROUNDS:
            assert unknown_words(canonical_caption([name], place)) == []


def test_names_are_unambiguous() -> None:
    nouns = Counter(noun for table in (OBJECTS, BACKGROUNDS) for group in table.values() for noun in group)
    assert max(nouns.values()) == 1
    assert set(COLOURS) == set(OBJECTS)
    assert unknown_words("A zebra, runs on Grass") == ["zebra", "runs"]


def test_every_object_background_and_motion_appears() -> None:
    scenes = [sample_scene(np.random.default_rng(seed), 2) for seed in range(600)]
    assert {name for scene in scenes for name in scene.objects} == set(OBJECTS)
    assert {scene.background for scene in scenes} == set(BACKGROUNDS) == set(TEXTURES)
    assert {(s.category, s.motion) for s in scenes} == {(c, kind) for c, kinds in KINDS.items() for kind in kinds}
    assert all(len(s.objects) == 2 for s in scenes if s.category == "multi_object")


def test_an_unknown_category_is_refused_with_the_legal_ones() -> None:
    with pytest.raises(ValueError, match="category=dancing .* one of single_object, multi_object"):
        sample_scene(np.random.default_rng(0), 2, "dancing")


@pytest.mark.parametrize("name", OBJECTS)
def test_sprites_load(name: str) -> None:
    image = sprite(name)
    assert image.shape == (96, 96, 4)
    assert image.dtype == np.float32
    assert image.min() >= 0
    assert image.max() <= 1
    assert (image[..., :3] <= image[..., 3:] + 1e-6).all()  # premultiplied
    assert 0.2 < (image[..., 3] > 0.5).mean() < 0.95


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_backgrounds_are_textured(name: str) -> None:
    image = background(name, np.random.default_rng(0), 64)
    assert image.shape == (64, 64, 3)
    assert image.min() >= 0
    assert image.max() <= 1
    assert image.std((0, 1)).max() > 0.02
