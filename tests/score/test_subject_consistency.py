"""Consistency of features against the loop of its definition, and DINO's features as VBench reads them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate, normalize

import fastvmt.torchvision_ops  # noqa: F401  timm imports torchvision
from fastvmt.score.consistency import SubjectConsistency, consistency, det_consistency
from fastvmt.score.preprocess import IMAGENET
from fastvmt.score.subject import DinoEncoder, load_dino, stretched_positions
from fastvmt.score.weights import MissingWeightsError
from fastvmt.types import Video
from helpers.clips import pan

timm = pytest.importorskip("timm", reason="subject consistency needs timm, which open_clip brings along")


def test_consistency_is_the_loop_of_its_definition() -> None:
    f = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    unit = normalize(f.double(), dim=-1)
    total = 0.0
    for t in range(1, 9):
        total += (max(0.0, float(unit[t] @ unit[t - 1])) + max(0.0, float(unit[t] @ unit[0]))) / 2
    assert float(consistency(f)) == pytest.approx(total / 8)
    assert (unit[1:] @ unit[0]).min() < 0  # so that the clamp matters
    assert float(consistency(f[:1].expand(4, -1))) == pytest.approx(1, abs=1e-6)
    raw = sum(float(unit[t] @ unit[t - 1] + unit[t] @ unit[0]) / 2 for t in range(1, 9))
    assert float(det_consistency(f)) == pytest.approx(raw / 8)
    assert float(det_consistency(f, include_self=True)) == pytest.approx((raw + 1) / 9)
    for function in (consistency, det_consistency):
        with pytest.raises(ValueError, match="at least 2 frames"):
            function(f[:1])


def tiny_vit(**overrides: object) -> torch.nn.Module:
    """DINO's architecture, small, with weights large enough for positions and pixels to matter."""
    torch.manual_seed(0)
    known = {"img_size": 224, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0}
    settings = known | {"global_pool": "token", "dynamic_img_size": True} | overrides
    model = timm.models.VisionTransformer(**settings)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def test_wide_frames_are_resized_and_not_cropped_but_for_a_partial_patch() -> None:
    frames = torch.randint(0, 256, (2, 3, 480, 832), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    encoder = DinoEncoder(tiny_vit(), "", vbench_compat=True)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in IMAGENET)
    small = interpolate(frames.float(), size=(224, 388), mode="bilinear", antialias=False)
    expected = (small[..., :384] / 255 - mean) / std
    torch.testing.assert_close(encoder.prepared(frames), expected, atol=1e-5, rtol=0)
    antialiased = DinoEncoder(tiny_vit(), "").prepared(frames)
    assert antialiased.shape == (2, 3, 224, 384) and antialiased.std() < 0.8 * expected.std()


@torch.no_grad()
def test_dino_features_of_square_and_of_wide_frames() -> None:
    square, wide = torch.randn(2, 3, 224, 224), torch.randn(2, 3, 224, 384)
    model = tiny_vit()
    ours, timms = DinoEncoder(model, "", vbench_compat=True), DinoEncoder(model, "")
    torch.testing.assert_close(ours.features(square), model(square))  # nothing to stretch: one and the same
    # an ordinary timm model of that size with the stretched embeddings put in
    fixed = tiny_vit(img_size=(224, 384), dynamic_img_size=False)
    state = model.state_dict() | {"pos_embed": stretched_positions(model.pos_embed, (14, 24))}
    fixed.load_state_dict(state)
    torch.testing.assert_close(ours.features(wide), fixed(wide))
    assert not torch.allclose(timms.features(wide), fixed(wide), atol=1e-3)  # the two rules do differ
    frames = torch.randint(0, 256, (20, 3, 240, 320), dtype=torch.uint8)
    rows = ours.encode_images(frames)
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(20))
    torch.testing.assert_close(rows[17:18], ours.encode_images(frames[17:18]), atol=1e-5, rtol=0)


def bicubic(side: int, length: int) -> Tensor:
    """Weights (length, side) of cubic convolution, a = -0.75, at (i + 0.5) side / (length + 0.1) - 0.5; clamped."""
    matrix = torch.zeros(length, side, dtype=torch.float64)
    for i in range(length):
        at = (i + 0.5) * side / (length + 0.1) - 0.5
        for k in range(math.floor(at) - 1, math.floor(at) + 3):
            d, a = abs(at - k), -0.75
            near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
            matrix[i, min(max(k, 0), side - 1)] += near if d <= 1 else far
    return matrix


def test_positions_are_sampled_where_the_released_rule_says() -> None:
    side, rows, columns = 14, 17, 24
    embedding = torch.randn(1, 1 + side * side, 3, generator=torch.Generator().manual_seed(0))
    out = stretched_positions(embedding, (rows, columns))
    assert torch.equal(out[:, 0], embedding[:, 0])
    square = embedding[0, 1:].reshape(side, side, 3).double()
    expected = torch.einsum("ry,cx,yxd->rcd", bicubic(side, rows), bicubic(side, columns), square)
    torch.testing.assert_close(out[0, 1:].reshape(rows, columns, 3).double(), expected, atol=1e-4, rtol=0)
    assert torch.equal(stretched_positions(embedding, (side, side)), embedding)


def test_subject_consistency_of_a_frozen_and_of_a_cut_video() -> None:
    metric = SubjectConsistency(DinoEncoder(tiny_vit(), ""))
    view = pan(1, (0, 0)).frames_THWC
    cut = torch.cat([view.expand(3, -1, -1, -1), 255 - view.expand(3, -1, -1, -1)])
    metric.update([Video(view.expand(4, -1, -1, -1), 8.0), Video(cut, 8.0)], [0, 1])
    frozen, changed = metric.per_sample()[1].tolist()
    assert frozen == pytest.approx(1, abs=1e-6) and changed < 0.999


@pytest.mark.slow
@torch.no_grad()
def test_dino_loads_from_either_file(tmp_path: Path) -> None:
    model = timm.create_model("vit_base_patch16_224.dino", pretrained=False, num_classes=0).eval()
    image = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in IMAGENET)
    expected = normalize(model.forward_features((image / 255 - mean) / std)[:, 0], dim=-1)
    published, converted = tmp_path / "dino_vitbase16_pretrain.pth", tmp_path / "model.safetensors"
    for write, file, given in ((torch.save, published, published), (save_file, converted, tmp_path)):
        write(model.state_dict(), file)
        torch.testing.assert_close(load_dino(given).encode_images(image), expected, atol=1e-5, rtol=0)
        file.unlink()  # 340 MB


def test_dino_refuses_other_files(tmp_path: Path) -> None:
    save_file(tiny_vit().state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"does not fit DINO ViT-B/16.*metrics\.weights\.dino=<path>"):
        load_dino(tmp_path)
    with pytest.raises(MissingWeightsError, match=r"dino_vitbase16_pretrain\.pth.*Apache-2\.0.*metrics\.weights\.dino"):
        load_dino(None)
