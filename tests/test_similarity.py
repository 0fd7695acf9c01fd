"""CLIP scores with known vectors, the state that all metrics share, and a tiny CLIP from disk."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, multiprocessing
from torch.nn.functional import normalize

import fastvmt.torchvision_ops  # noqa: F401  before open_clip and torchmetrics, which import torchvision
from fastvmt.metrics.encoder import OpenClipEncoder
from fastvmt.metrics.functional import temporal_consistency, text_similarity
from fastvmt.metrics.motion_fidelity import MotionFidelity
from fastvmt.metrics.similarity import TemporalConsistency, TextSimilarity
from fastvmt.types import Video

open_clip = pytest.importorskip("open_clip")

TINY = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


class ColourEncoder:
    """Frames embed as their mean colour, prompts as the colour they name."""

    def encode_images(self, frames_TCHW: Tensor) -> Tensor:
        return normalize(frames_TCHW.float().mean((2, 3)), dim=-1)

    def encode_text(self, prompts: list[str]) -> Tensor:
        return torch.stack([torch.eye(3)[["red", "green", "blue"].index(prompt)] for prompt in prompts])


def colours(*rgb: tuple[int, int, int]) -> Video:
    frames = torch.tensor(rgb, dtype=torch.uint8)[:, None, None]
    return Video(frames.expand(-1, 4, 4, 3).contiguous(), 8.0)


def test_exact_means() -> None:
    video = colours((255, 0, 0), (0, 255, 0), (255, 255, 0))
    metric = TextSimilarity(ColourEncoder())
    metric.update([video, video], ["red", "blue"], [0, 1])
    red = (1 + 0 + 1 / math.sqrt(2)) / 3
    assert metric.per_sample()[1].tolist() == pytest.approx([red, 0])
    assert float(metric.compute()) == pytest.approx(red / 2)
    steady = TemporalConsistency(ColourEncoder())
    steady.update([video], [0])
    assert float(steady.compute()) == pytest.approx((0 + 1 / math.sqrt(2)) / 2)


def test_frozen_video_is_consistent_and_scale_does_not_matter() -> None:
    frame = torch.randn(1, 512, generator=torch.Generator().manual_seed(0))
    assert float(temporal_consistency(frame.expand(9, -1))) == pytest.approx(1, abs=1e-6)
    frames = torch.randn(9, 512, generator=torch.Generator().manual_seed(1))
    assert float(text_similarity(3 * frames, frame[0])) == pytest.approx(float(text_similarity(frames, frame[0])))
    with pytest.raises(ValueError, match="at least 2 frames"):
        temporal_consistency(frame)


def test_undefined_scores_are_counted_and_left_out() -> None:
    video = colours((255, 0, 0), (255, 0, 0))
    metric = TextSimilarity(ColourEncoder())
    with pytest.warns(UserWarning, match=r"undefined for videos \[7\]"):
        metric.update([video, video], ["red", " "], [2, 7])
    assert float(metric.compute()) == pytest.approx(1)
    assert int(metric.n_invalid) == 1
    assert metric.per_sample()[1].isnan().tolist() == [False, True]
    with pytest.raises(ValueError, match="undefined"):
        TextSimilarity(ColourEncoder(), nan_policy="raise").update([video], [""], [0])
    with pytest.raises(ValueError, match="nan_policy='zero'"):
        TextSimilarity(ColourEncoder(), nan_policy="zero")
    only = TextSimilarity(ColourEncoder())
    with pytest.warns(UserWarning, match="left out"):
        only.update([video], [""], [0])
    assert only.compute().isnan()


def test_repeats_count_once_and_state_can_be_reset_and_pickled() -> None:
    metric = MotionFidelity(tracker=None)
    metric.record([0.5, 0.7], [4, 2])
    metric.record([0.7, 0.1], [2, 9])
    assert metric.per_sample()[0].tolist() == [2, 4, 9]
    assert float(metric.compute()) == pytest.approx((0.5 + 0.7 + 0.1) / 3)
    copy = pickle.loads(pickle.dumps(metric))
    assert copy.compute() == metric.compute()
    metric.reset()
    metric.record([0.25], [0])
    assert float(metric.compute()) == 0.25
    with pytest.raises(ValueError, match="one index per video"):
        metric.record([0.1], [])
    from torchmetrics import MetricCollection

    collection = MetricCollection({"a": copy, "b": metric}, compute_groups=False)
    assert set(collection.compute()) == {"a", "b"}


def _worker(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    metric = MotionFidelity(tracker=None)
    shards = {0: ([0.0, 0.3, 0.6], [0, 2, 4]), 1: ([0.9, 0.0], [1, 0])}  # uneven, case 0 twice
    metric.record(*shards[rank])
    Path(folder, f"{rank}.json").write_text(json.dumps(float(metric.compute())))
    torch.distributed.destroy_process_group()


def test_two_processes_agree_with_one(tmp_path: Path) -> None:
    multiprocessing.start_processes(_worker, args=(str(tmp_path),), nprocs=2, start_method="fork")  # no imports anew
    values = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert values == pytest.approx([(0.0 + 0.3 + 0.6 + 0.9) / 4] * 2)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random CLIP in open_clip's folder layout."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    model = open_clip.model.CLIP(**TINY)
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    preprocess = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": preprocess}))
    return folder


def test_clip_from_a_folder(clip_folder: Path) -> None:
    encoder = OpenClipEncoder(clip_folder)
    torch.manual_seed(0)
    original = open_clip.model.CLIP(**TINY).eval()
    tokens = open_clip.get_tokenizer("ViT-B-32")(["a dog on grass"])
    expected = normalize(original.encode_text(tokens), dim=-1)
    assert torch.allclose(encoder.encode_text(["a dog on grass"]), expected, atol=1e-5)  # its weights, not random ones
    frames = torch.randint(0, 256, (70, 3, 40, 60), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    rows = encoder.encode_images(frames)
    assert rows.shape == (70, 16)
    assert torch.allclose(rows.norm(dim=-1), torch.ones(70), atol=1e-5)
    assert torch.allclose(rows[66:67], encoder.encode_images(frames[66:67]), atol=1e-5)
    with pytest.raises(ValueError, match="uint8"):
        encoder.encode_images(frames.float())


def test_long_prompts_keep_the_end_token(clip_folder: Path) -> None:
    tokenizer = OpenClipEncoder(clip_folder).tokenizer
    tokens = tokenizer(["dog " * 200])
    assert tokens.shape == (1, 77)
    assert tokens[0, -1] == tokenizer(["dog"])[0].max()


@pytest.mark.parametrize("missing", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_missing_weights_are_refused(clip_folder: Path, tmp_path: Path, missing: str) -> None:
    for path in clip_folder.iterdir():
        if path.name != missing:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(FileNotFoundError, match=rf"lacks {missing}.*metrics\.clip\.model"):
        OpenClipEncoder(tmp_path)
