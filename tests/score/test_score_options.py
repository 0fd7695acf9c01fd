"""What the command of scores refuses before it reads a clip, in one line."""

from __future__ import annotations

import pytest

from fastvmt.data.video import write_video
from fastvmt.score.command import main
from helpers.clips import clip


@pytest.mark.parametrize("size", ["96", "0x0", "1x1", "1e9x9", "99999x99999", "²x²", "16x16x16", "nanxnan", ""])
def test_a_size_is_two_sides_that_a_clip_can_have(size, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["a.mp4", "b.mp4", "--size", size])
    assert f"argument --size: {size!r} must be HxW in pixels" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "1e300", "fast"])
def test_a_rate_is_finite(rate, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["a", "b", "--folder-fps", rate])
    assert f"argument --folder-fps: {rate!r} must be frames per second" in capsys.readouterr().err


def test_an_unknown_score_is_told_with_the_nearest_one(tmp_path, capsys):
    write_video(tmp_path / "a.mp4", clip(9, 48, 48))
    words = [str(tmp_path / "a.mp4"), str(tmp_path / "a.mp4"), "--metrics", "none"]
    assert main([*words, "--set", "metrics.also=[motion_fidelity_hybrd]"]) == 2
    assert "'motion_fidelity_hybrd': did you mean motion_fidelity_hybrid?" in capsys.readouterr().err
