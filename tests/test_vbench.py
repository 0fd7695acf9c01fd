"""VBench's dimensions against loops written from their definition, known motion and stand-in networks."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate, normalize

import fastvmt.torchvision_ops  # noqa: F401  timm imports torchvision
from fastvmt.metrics.aesthetic import AestheticQuality, aesthetic_quality, read_head
from fastvmt.metrics.amt import AmtInterpolator
from fastvmt.metrics.consistency import SubjectConsistency, consistency, det_consistency
from fastvmt.metrics.dense_flow import DisFlow, RaftFlow, dis_flow, padded
from fastvmt.metrics.dynamic import DynamicDegree, DynamicDegreeFlow, dynamic_degree, fastest, video_dynamics
from fastvmt.metrics.flicker import TemporalFlickering, temporal_flickering
from fastvmt.metrics.preprocess import IMAGENET
from fastvmt.metrics.smoothness import DisInterpolator, MotionSmoothness, MotionSmoothnessFlow, motion_smoothness
from fastvmt.metrics.subject import DinoEncoder, load_dino, stretched_positions
from fastvmt.metrics.weights import MissingWeightsError
from fastvmt.types import Video

timm = pytest.importorskip("timm", reason="subject consistency needs timm, which open_clip brings along")


def texture(height: int, width: int, seed: int = 0) -> Tensor:
    """A soft random picture (3, H, W) in 0..255."""
    coarse = torch.rand(1, 3, height // 12, width // 12, generator=torch.Generator().manual_seed(seed))
    return 255 * interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)[0]


def pan(frames: int, step: tuple[int, int], size: tuple[int, int] = (96, 128), fps: float = 8.0) -> Video:
    """A camera over a texture, ``step`` = (dx, dy) whole pixels per frame of content to the left and up."""
    (dx, dy), (height, width) = step, size
    canvas = texture(height + frames * dy, width + frames * dx)
    views = [canvas[:, t * dy : t * dy + height, t * dx : t * dx + width] for t in range(frames)]
    return Video(torch.stack(views).round().byte().permute(0, 2, 3, 1).contiguous(), fps)


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
    torch.save(model.state_dict(), tmp_path / "dino_vitbase16_pretrain.pth")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "dino_vitbase16_pretrain.pth"):
        torch.testing.assert_close(load_dino(path).encode_images(image), expected, atol=1e-5, rtol=0)


def test_dino_refuses_other_files(tmp_path: Path) -> None:
    save_file(tiny_vit().state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"does not fit DINO ViT-B/16.*metrics\.weights\.dino=<path>"):
        load_dino(tmp_path)
    with pytest.raises(MissingWeightsError, match=r"dino_vitbase16_pretrain\.pth.*Apache-2\.0.*metrics\.weights\.dino"):
        load_dino(None)


class Known:
    """Fixed features, however the frames look."""

    provenance = {"id": "known"}

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def encode_images(self, frames_TCHW: Tensor) -> Tensor:
        return self.rows


def test_aesthetic_quality(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    rows, weight, bias = torch.randn(5, 8, generator=g), torch.randn(1, 8, generator=g), torch.tensor([3.0])
    torch.save({"weight": weight, "bias": bias}, tmp_path / "head.pth")
    head = read_head(tmp_path / "head.pth")
    linear = torch.nn.Linear(8, 1).requires_grad_(False)
    linear.load_state_dict({"weight": weight, "bias": bias})
    expected = float(linear(normalize(rows, dim=-1)).mean()) / 10
    assert float(aesthetic_quality(rows, *head)) == pytest.approx(expected, abs=1e-6)
    metric = AestheticQuality(Known(rows), head)
    metric.update([pan(5, (1, 0))], [0])
    assert float(metric.compute()) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match=r"reads 8 channels, the encoder gives 4.*metrics\.weights\.clip_l14"):
        AestheticQuality(Known(rows[:, :4]), head).score(pan(5, (1, 0)))
    for other in ({"layers.0.weight": weight}, {"weight": weight[0, :1], "bias": bias}):
        torch.save(other, tmp_path / "mlp.pth")
        with pytest.raises(ValueError, match=r"no linear head.*metrics\.weights\.aesthetic=<path>"):
            read_head(tmp_path / "mlp.pth")


def test_flickering_is_the_mean_change_of_a_pixel() -> None:
    frames = torch.randint(0, 256, (4, 3, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    change = np.abs(np.diff(frames.numpy().astype(float), axis=0)).mean()
    assert temporal_flickering(frames) == pytest.approx((255 - change) / 255)
    with pytest.raises(ValueError, match="temporal flickering needs at least 2 frames"):
        TemporalFlickering().score(Video(frames[:1].permute(0, 2, 3, 1), 8.0))
    for wrong, message in (
        (frames[:1], "at least 2"),
        (frames / 255, "uint8"),
        (frames.permute(0, 2, 3, 1), "3, H, W"),
    ):
        with pytest.raises(ValueError, match=message):
            temporal_flickering(wrong)


def test_dis_flow_is_in_pixels_of_the_frame() -> None:
    for size in ((96, 128), (400, 500)):  # enlarged, and made smaller
        forward, backward = dis_flow(pan(3, (3, 2), size).frames_THWC)
        inner = np.s_[20:-20, 20:-20]
        for fields, sign in ((forward, -1), (backward, 1)):
            assert np.median(fields[0][inner], (0, 1)) == pytest.approx((sign * 3, sign * 2), abs=0.3)


def test_dynamic_degree_rule() -> None:
    flow = np.random.default_rng(0).normal(size=(24, 32, 2)).astype(np.float32)
    lengths = np.sort(np.hypot(flow[..., 0], flow[..., 1]).ravel())[::-1]
    assert fastest(flow) == pytest.approx(lengths[: int(24 * 32 * 0.05)].mean(), rel=1e-6)
    limit = 6 * 480 / 256
    for frames, needed in ((4, 1), (6, 2), (8, 2), (10, 2), (14, 4), (16, 4)):  # round half to even
        for fast in range(frames):
            speeds = [limit + 0.1] * fast + [limit] * (frames - 1 - fast)  # the limit itself is not enough
            assert dynamic_degree(speeds, 480).moves == float(fast >= needed)
    assert dynamic_degree([0.0, 6.0, 3.0], 480).speed == pytest.approx(3)
    assert math.isnan(dynamic_degree([99.0, 99.0], 480).moves)


def test_dynamic_degree_of_pans() -> None:
    metric = DynamicDegreeFlow()
    videos = [pan(9, (8, 0)), pan(9, (1, 0)), pan(17, (4, 0), fps=16.0), pan(5, (8, 0), fps=16.0)]
    with pytest.warns(UserWarning, match=r"undefined for videos \[3\]"):  # 3 frames at 8 per second
        metric.update(videos, [0, 1, 2, 3])
    assert metric.per_sample()[1].nan_to_num(-1).tolist() == [1, 0, 1, -1]  # at 8 frames per second, 4 px are 8
    assert 7 < video_dynamics(videos[0], DisFlow()).speed < 10  # the fastest pixels, borders included


@pytest.fixture(scope="module")
def raft_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torchvision.models.optical_flow import raft_large

    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("raft") / "raft.pth"
    torch.save(raft_large(weights=None).state_dict(), file)
    return file


@torch.no_grad()
def test_raft_is_called_as_published(raft_file: Path) -> None:
    from torchvision.models.optical_flow import raft_large

    model = raft_large(weights=None).eval()
    model.load_state_dict(torch.load(raft_file, weights_only=True))
    video = pan(2, (4, 0), (131, 128))
    images = video.frames_THWC.permute(0, 3, 1, 2).float() / 255 * 2 - 1
    images = torch.nn.functional.pad(images, (0, 0, 2, 3), mode="replicate")  # 131 to 136 rows
    expected = model(images[:1], images[1:], num_flow_updates=20)[-1][0, :, 2:-3].permute(1, 2, 0)
    flow = RaftFlow(raft_file).forward_flow(video.frames_THWC)
    assert flow is not None and len(flow) == 1
    torch.testing.assert_close(torch.from_numpy(flow[0]), expected, atol=1e-3, rtol=1e-3)
    small = DynamicDegree(RaftFlow(raft_file))
    assert math.isnan(small.score(pan(9, (8, 0))))  # 96 rows are too few


def test_raft_refuses_other_files(raft_file: Path, tmp_path: Path) -> None:
    named = tmp_path / "raft_large_C_T_V1-22a6c225.pth"
    named.write_bytes(raft_file.read_bytes())
    with pytest.raises(ValueError, match="has 22a6c225"):
        RaftFlow(named)
    with pytest.raises(MissingWeightsError, match=r"raft_large_C_T_V1-22a6c225\.pth.*metrics\.weights\.raft"):
        RaftFlow(None)
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"does not fit torchvision's large RAFT.*metrics\.weights\.raft=<path>"):
        RaftFlow(tmp_path / "a.pth")


class Nearest:
    """Says that the frame between is the one before."""

    provenance = {"id": "nearest"}

    def between(self, frames_THWC: Tensor) -> Tensor:
        return frames_THWC[:-1]


@pytest.mark.parametrize(("frames", "pairs"), [(3, 1), (4, 1), (5, 2), (8, 3)])
def test_smoothness_compares_every_second_frame(frames: int, pairs: int) -> None:
    clip = torch.randint(0, 256, (frames, 6, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    errors = [(clip[2 * i + 1].double() - clip[2 * i].double()).abs().mean() for i in range(pairs)]
    expected = (255 - float(torch.stack(errors).mean())) / 255
    assert motion_smoothness(clip.permute(0, 3, 1, 2), Nearest()) == pytest.approx(expected)
    with pytest.raises(ValueError, match="at least 3 frames"):
        motion_smoothness(clip[:2].permute(0, 3, 1, 2), Nearest())
    with pytest.raises(ValueError, match="at least 3 frames"):
        MotionSmoothness(Nearest()).score(Video(clip[:2], 8.0))


def test_smooth_motion_is_predicted_and_jerks_and_noise_are_not() -> None:
    metric, video = MotionSmoothnessFlow(), pan(9, (3, 1))
    smooth = metric.score(video)
    still = motion_smoothness(video.frames_THWC.permute(0, 3, 1, 2), Nearest())
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    shuffled = metric.score(Video(video.frames_THWC[order], 8.0))
    noise = 8 * torch.randn(video.frames_THWC.shape, generator=torch.Generator().manual_seed(0))
    noisy = metric.score(Video((video.frames_THWC + noise).clamp(0, 255).byte(), 8.0))
    assert smooth > 0.985 and smooth > still  # flow helps over taking the neighbour
    assert shuffled < smooth - 0.02
    assert 0.01 < smooth - noisy < 0.04
    middle = DisInterpolator().between(video.frames_THWC[::2])
    inner = (middle[0].float() - video.frames_THWC[1].float()).abs()[16:-16, 16:-16]
    assert inner.mean() < 1.5


AMT = """
import torch
from networks.blocks.scale import SCALE

class Model(torch.nn.Module):
    def __init__(self, corr_radius, corr_lvls, num_flows):
        super().__init__()
        assert (corr_radius, corr_lvls, num_flows) == (3, 4, 3)
        self.gain = torch.nn.Parameter(torch.zeros(1))

    def forward(self, before, after, embt, scale_factor, eval):
        assert eval and scale_factor == 1.0 and embt.shape == (1, 1, 1, 1) and not self.training
        assert before.shape == after.shape and before.shape[-2] % 16 == before.shape[-1] % 16 == 0
        assert 0 <= before.min() and before.max() <= 1
        return {"imgt_pred": self.gain * SCALE * (before * (1 - embt) + after * embt)}
"""


def test_amt_is_called_from_the_users_checkout(tmp_path: Path) -> None:
    blocks = tmp_path / "checkout" / "networks" / "blocks"
    blocks.mkdir(parents=True)
    (blocks / "scale.py").write_text("SCALE = 2.0\n")
    (blocks.parent / "AMT-S.py").write_text(AMT)
    weights = tmp_path / "amt-s.pth"
    torch.save({"state_dict": {"gain": torch.tensor([0.55])}}, weights)
    amt = AmtInterpolator(tmp_path / "checkout", weights)
    frames = torch.randint(0, 256, (3, 20, 37, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean = (frames[:-1].double() + frames[1:].double()) / 2 * 1.1
    expected = mean.clamp(0, 255).floor()  # clipped and truncated, not rounded
    found = amt.between(frames).double()
    assert found.shape == frames[1:].shape
    assert (found == expected).double().mean() > 0.98 and (found - expected).abs().max() <= 1  # float32 at the edges
    assert MotionSmoothness(amt).score(Video(frames, 8.0)) < 1
    assert not [name for name in sys.modules if name.split(".")[0] == "networks"]
    assert str(tmp_path / "checkout") not in sys.path


def test_amt_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"CC-BY-NC 4\.0.*metrics\.weights\.amt_checkout"):
        AmtInterpolator(tmp_path / "checkout", None)
    with pytest.raises(MissingWeightsError, match=r"amt-s\.pth.*metrics\.weights\.amt="):
        AmtInterpolator(tmp_path, None)
    torch.save({"gain": torch.zeros(1)}, tmp_path / "amt-s.pth")
    with pytest.raises(MissingWeightsError, match=r"networks/AMT-S\.py"):
        AmtInterpolator(tmp_path, tmp_path / "amt-s.pth")


def test_padding_replicates_the_border() -> None:
    image = torch.arange(12.0).view(1, 1, 3, 4)
    wide, (left, top) = padded(image, 8)
    assert wide.shape == (1, 1, 8, 8)
    assert torch.equal(wide[..., top : top + 3, left : left + 4], image)
    assert wide[0, 0, 0, 0] == image[0, 0, 0, 0] and wide[0, 0, -1, -1] == image[0, 0, -1, -1]
