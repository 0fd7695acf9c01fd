"""Videos beside one another, with labels."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
import torch
from PIL import ImageFont

from fastvmt.data.panel import MOST_LINES, side_by_side, wrapped
from fastvmt.types import Video

FONT = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), 18)


def numbered(frames: int, height: int = 8, width: int = 8) -> Video:
    """Frame t is a flat image of value t."""
    values = torch.arange(frames, dtype=torch.uint8)[:, None, None, None]
    return Video(values.expand(-1, height, width, 3).contiguous(), 8.0, "numbered")


def test_side_by_side() -> None:
    row = side_by_side([numbered(5, 8, 6), numbered(5, 4, 10)])
    assert row.size == (5, 8, 16)
    assert row.frames_THWC[3, 3, :, 0].tolist() == [3] * 16
    assert row.frames_THWC[3, 0, :, 0].tolist() == [3] * 6 + [0] * 10
    with pytest.raises(ValueError, match="equal length"):
        side_by_side([numbered(5), numbered(6)])
    with pytest.raises(ValueError, match="labels"):
        side_by_side([numbered(5)], ["a", "b"])


def test_labels_stand_above_their_own_panel_and_panels_keep_their_pixels() -> None:
    row = side_by_side([numbered(5, 96, 96), numbered(5, 96, 96)], ["reference", ""], scale=4)
    banner = row.size[1] - 4 * 96
    assert row.size[2] == 8 * 96 and 18 < banner < 50
    assert row.frames_THWC[0, :banner, : 4 * 96].max() > 250 and row.frames_THWC[0, :banner, 4 * 96 :].max() == 0
    assert (row.frames_THWC[3, banner:] == 3).all()
    letters = row.frames_THWC[0, :banner, :, 0].amax(0).nonzero()
    middle = (letters.min() + letters.max()).item() / 2
    assert abs(middle - 2 * 96) < 4


def test_a_long_prompt_is_wrapped_and_at_last_cut() -> None:
    prompt = "a brown dog runs over green grass in front of a café " * 3
    lines = wrapped(prompt, FONT, 300)
    assert len(lines) == MOST_LINES and lines[-1].endswith("...")
    assert all(FONT.getlength(line) <= 300 for line in lines)
    assert wrapped("a dog on grass", FONT, 300) == ["a dog on grass"]
    assert "".join(wrapped("x" * 60, FONT, 300)) == "x" * 60
    two, one = (side_by_side([numbered(2, 99, 300)], [text]).size[1] for text in ("word " * 12, "word"))
    assert two > one
