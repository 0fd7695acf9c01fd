"""The CLIP encoder: batches, VBench's preprocessing, and videos that are encoded once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

import fastvmt.torchvision_ops  # noqa: F401  before open_clip, which imports torchvision

# isort: split
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

from fastvmt.score.clip import encoder as encoder_module
from fastvmt.score.clip.encoder import ClipEncoder
from fastvmt.score.consistency import temporal_consistency
from fastvmt.score.encoder import RememberingEncoder
from helpers.clip_forms import as_folder, clip, random_clip


@pytest.fixture(scope="module")
def original() -> nn.Module:
    return random_clip()


def test_batches_do_not_matter_and_a_frozen_video_is_consistent(original, tmp_path: Path, monkeypatch) -> None:
    encoder = ClipEncoder(as_folder(original, tmp_path))
    frames = clip(7)
    whole = encoder.encode_images(frames)
    assert torch.allclose(whole.norm(dim=-1), torch.ones(7), atol=1e-5)
    monkeypatch.setattr(encoder_module, "BATCH", 3)
    torch.testing.assert_close(encoder.encode_images(frames), whole, atol=1e-5, rtol=0)
    frozen = encoder.encode_images(frames[:1].expand(7, -1, -1, -1))
    assert float(temporal_consistency(frozen)) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match="uint8"):
        encoder.encode_images(frames.float())


def test_vbench_preprocessing_does_not_antialias_round_or_clamp(original, tmp_path: Path) -> None:
    encoder = ClipEncoder(as_folder(original, tmp_path), preprocess="vbench")
    frames = clip(2, 80, 120)
    frames[:, :, :, :60] = 0
    frames[:, :, :, 60:] = 255  # a step: bicubic overshoots
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    small = interpolate(frames.float(), size=(32, 48), mode="bicubic", antialias=False)[..., 8:40]
    assert small.min() < 0 and small.max() > 255
    torch.testing.assert_close(encoder.prepared(frames), (small / 255 - mean) / std, atol=1e-5, rtol=0)
    smooth = ClipEncoder(as_folder(original, tmp_path)).prepared(frames)
    assert (smooth - encoder.prepared(frames)).abs().max() > 0.01
    with pytest.raises(ValueError, match=r"metrics\.clip\.preprocess=squash"):
        ClipEncoder(tmp_path, preprocess="squash")


class Counting:
    """Counts passes of the image tower."""

    provenance = {"id": "counting"}

    def __init__(self) -> None:
        self.passes = 0

    def encode_images(self, frames_TCHW: Tensor) -> Tensor:
        self.passes += 1
        return frames_TCHW.float().mean((2, 3))

    def encode_text(self, prompts: list[str]) -> Tensor:
        return torch.ones(len(prompts), 3)

    def truncates(self, prompt: str) -> bool:
        return False


def test_a_video_is_encoded_once_and_forgotten_last_used_first() -> None:
    inner = Counting()
    encoder = RememberingEncoder(inner, videos=2)
    a, b, c = (clip(2) // k for k in (1, 2, 3))
    for video in (a, a.clone(), b, a, c, a):  # c drives out b
        torch.testing.assert_close(encoder.encode_images(video), video.float().mean((2, 3)))
    assert inner.passes == 3
    encoder.encode_images(b)
    assert inner.passes == 4
    encoder.encode_images(a.permute(0, 1, 3, 2).reshape(a.shape))  # same size, other pixels
    encoder.encode_images(a.reshape(2, 3, 60, 40))  # same bytes, another shape
    assert inner.passes == 6
    with pytest.raises(ValueError, match="videos=0"):
        RememberingEncoder(inner, videos=0)
