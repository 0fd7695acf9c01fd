"""The watermark: invisible, found by its key after encoding and resizing, and by no other key."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from fastvmt.data.resample import cover
from fastvmt.data.video import read_video, write_video
from fastvmt.types import Video
from fastvmt.watermark import BAND, STRENGTH, THRESHOLD, cosines, detect, main, marked, read_secret, signs
from fastvmt.world.scene import render, sample_scene

SECRET = b"a secret of ours"


@pytest.fixture(scope="module", params=[1, 4])
def scene(request: pytest.FixtureRequest) -> Video:
    """A clip of the emoji world."""
    drawn = sample_scene(np.random.default_rng(request.param), 9)
    return Video(torch.from_numpy(render(drawn, 96).frames_THWC), 8.0)


def test_the_cosines_are_orthonormal_and_the_signs_are_the_secrets() -> None:
    rows = cosines(96)
    torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), atol=1e-5, rtol=0)
    torch.testing.assert_close(rows.sum(1), torch.zeros(len(rows)), atol=1e-4, rtol=0)  # no brightness
    mine, theirs = signs(SECRET), signs(b"another secret")
    assert mine.shape == (BAND[1] - BAND[0],) * 2 and set(mine.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(mine.mean())) < 0.08 and abs(float((mine * theirs).mean())) < 0.08
    assert signs(SECRET).equal(mine)


def test_the_mark_is_small_and_the_same_in_every_channel(scene: Video) -> None:
    grey = Video(torch.full_like(scene.frames_THWC, 128), 8.0)
    change = marked(grey, SECRET).frames_THWC.float() - 128
    assert float(change.std()) == pytest.approx(STRENGTH, rel=0.05)
    assert change[..., 0].equal(change[..., 1]) and change[0].equal(change[-1])
    assert detect(marked(grey, SECRET), SECRET) > 40


def test_only_its_key_finds_the_mark_after_encoding_and_resizing(scene: Video, tmp_path: Path) -> None:
    made = marked(scene, SECRET)
    write_video(tmp_path / "made.mp4", made, scale=4)
    write_video(tmp_path / "small.mp4", Video(cover(read_video(tmp_path / "made.mp4").frames_THWC, 72, 72), 8.0))
    for clip in (made, read_video(tmp_path / "made.mp4"), read_video(tmp_path / "small.mp4")):
        assert detect(clip, SECRET) > THRESHOLD
        assert detect(clip, b"another secret") < THRESHOLD
    assert detect(scene, SECRET) < THRESHOLD


def test_without_the_mark_values_are_normal_whatever_the_clip(scene: Video) -> None:
    values = torch.tensor([detect(scene, f"secret number {key}".encode()) for key in range(100)])
    assert abs(float(values.mean())) < 0.4 and 0.8 < float(values.std()) < 1.25
    assert math.exp(-(THRESHOLD**2) / 2) < 2e-8


def test_one_colour_holds_nothing() -> None:
    assert abs(detect(Video(torch.zeros(3, 64, 64, 3, dtype=torch.uint8), 8.0), SECRET)) < THRESHOLD


def test_the_command_finds_it(scene: Video, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key.txt"
    key.write_bytes(SECRET + b"\n")
    write_video(tmp_path / "made.mp4", marked(scene, SECRET))
    write_video(tmp_path / "plain.mp4", scene)
    assert main([str(tmp_path / "made.mp4"), "--key", str(key)]) == 0
    assert "made.mp4: marked (z = " in capsys.readouterr().out
    assert main([str(tmp_path / "made.mp4"), str(tmp_path / "plain.mp4"), "--key", str(key)]) == 1
    assert "plain.mp4: no mark of this key found" in capsys.readouterr().out
    write_video(tmp_path / "tiny.mp4", Video(scene.frames_THWC[:, :40], 8.0))
    key.write_text("short")
    for words, told in (
        (["tiny.mp4", "--key", "a key"], "frames of at least 56 x 56"),
        (["made.mp4", "--key", "key.txt"], "8 bytes or more, it has 5"),
        (["made.mp4", "--key", "none.txt"], "does not exist"),
        (["none.mp4", "--key", "a key"], "none.mp4"),
    ):
        (tmp_path / "a key").write_bytes(SECRET)
        assert main([str(tmp_path / words[0]), "--key", str(tmp_path / words[2])]) == 2
        error = capsys.readouterr().err
        assert error.startswith("fastvmt.watermark: ") and told in error and error.count("\n") == 1
    assert read_secret(tmp_path / "a key") == SECRET
