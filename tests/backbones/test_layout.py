"""Sizes of clips and grids, and the errors of those that a model does not take."""

from __future__ import annotations

import pytest

from fastvmt.backbones.layout import Layout


def wan_layout(frames: int = 81, height: int = 480, width: int = 832) -> Layout:
    return Layout("wan_1_3b", frames, height, width, 30, 4, 8, 16, (1, 2, 2), 12)


def test_layout_of_wan() -> None:
    assert wan_layout().latent_shape == (1, 16, 21, 60, 104)
    assert wan_layout().grid == (21, 30, 52)


@pytest.mark.parametrize(
    ("size", "advice"),
    [
        ({"frames": 80}, "backbone.frames=81"),
        ({"frames": 32}, "backbone.frames=33"),
        ({"frames": 1}, "backbone.frames=5"),
        ({"frames": 0}, "backbone.frames=5"),
        ({"height": 470}, "backbone.height=464"),
        ({"width": 830}, "backbone.width=832"),
        ({"height": 3}, "backbone.height=16"),
        ({"width": -16}, "backbone.width=16"),
    ],
)
def test_illegal_sizes_name_the_nearest_legal_one(size: dict[str, int], advice: str) -> None:
    with pytest.raises(ValueError, match=f"nearest legal value is {advice}$") as error:
        wan_layout(**size)
    ((key, value),) = size.items()
    assert f"backbone.{key}={value} " in str(error.value)
    wan_layout(**{key: int(advice.split("=")[1])})  # and that value is legal


@pytest.mark.parametrize(("frames", "advice"), [(13, 17), (48, 49), (5, 9), (1, 9)])
def test_a_model_may_need_an_odd_number_of_latent_frames(frames: int, advice: int) -> None:
    """CogVideoX decodes an even number of them to a clip of another length."""

    def layout(count: int) -> Layout:
        return Layout("cogvideox", count, 480, 720, 42, 4, 8, 16, (1, 2, 2), 48, latent_step=2)

    with pytest.raises(ValueError, match=rf"must be 8 k \+ 1 .* nearest legal value is backbone\.frames={advice}$"):
        layout(frames)
    assert layout(advice).grid[0] % 2 == 1


@pytest.mark.parametrize("block", [-1, 30])
def test_a_block_that_does_not_exist_names_its_key(block: int) -> None:
    with pytest.raises(
        ValueError, match=rf"^method\.block={block} does not exist: wan_1_3b has blocks 0\.\.29\. Set gui"
    ):
        wan_layout().check_block(block, "method.block")
    with pytest.raises(ValueError, match=rf"^guidance\.block={block} .* Set guidance\.block$"):
        wan_layout().check_block(block, "guidance.block")
    wan_layout().check_block(29, "guidance.block")


def test_a_rotation_that_does_not_exist_names_its_key() -> None:
    wan_layout().check_rotary("guidance.rope=true")
    layout = Layout("cogvideox-2b", 49, 480, 720, 30, 4, 8, 16, (1, 2, 2), 30, rotary=False)
    with pytest.raises(
        ValueError, match=r"^guidance\.rope=true needs a rotary embedding, but cogvideox-2b .*rope=false"
    ):
        layout.check_rotary("guidance.rope=true")
