"""Wan 2.2's two models against diffusers' pipeline, and the two experts of A14B."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline
from torch import Tensor

from fastvmt.backbones.wan import WanBackbone
from fastvmt.backbones.wan_experts import WanExpertsBackbone
from fastvmt.cache import TensorCache
from fastvmt.engine.run import run
from fastvmt.methods.base import Method
from fastvmt.methods.transfer import transfer_case
from fastvmt.schedule import seeded_noise, sigma_schedule
from fastvmt.settings import Sampler
from fastvmt.tuning.loop import Tuning
from fastvmt.types import PassCounter, TransferCase
from helpers.architectures import ARCHITECTURES
from helpers.config import composed
from helpers.methods import TUNED, make
from helpers.random_models import SMALL, save_random_wan22
from helpers.transfers import remains

PROMPT, NEGATIVE = "a dog on grass", "a red balloon"
SIZE = {"name": "x", "frames": 9, "height": 48, "width": 48, "max_tokens": 16}
BOUNDARY = 0.875


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: save_random_wan22(tmp_path_factory.mktemp(name), experts=name == "a14b") for name in ("a14b", "ti2v_5b")
    }


@pytest.fixture(scope="module")
def a14b(folders: dict[str, Path]) -> WanExpertsBackbone:
    return WanExpertsBackbone(str(folders["a14b"]), name="a14b", **SMALL)


@pytest.fixture(scope="module")
def ti2v_5b(folders: dict[str, Path]) -> WanBackbone:
    return WanBackbone(str(folders["ti2v_5b"]), name="ti2v_5b", **SMALL)


@pytest.fixture
def noise(a14b: WanExpertsBackbone) -> Tensor:
    a14b.passes = PassCounter()
    return seeded_noise(a14b.layout.latent_shape, 3, a14b.device)


@pytest.mark.parametrize("second", [None, 2.5])
@pytest.mark.parametrize("name", ["a14b", "ti2v_5b"])
def test_reproduces_the_pipeline_of_diffusers(
    folders: dict[str, Path],
    request: pytest.FixtureRequest,
    case: TransferCase,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    second: float | None,
) -> None:
    """Frames, latents and the levels at which they are denoised; guidance scales of each expert's own."""
    if name == "ti2v_5b" and second is not None:
        pytest.skip("it has one transformer")
    backbone: WanBackbone = request.getfixturevalue(name)
    stock = WanPipeline.from_pretrained(folders[name], dtype=torch.float32, local_files_only=True)
    stock.set_progress_bar_config(disable=True)
    stock.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    start = seeded_noise(backbone.layout.latent_shape, case.seed, backbone.device)
    shared = dict(
        prompt=case.prompt,
        negative_prompt=NEGATIVE,
        height=48,
        width=48,
        num_frames=9,
        num_inference_steps=5,
        guidance_scale=4.0,
        guidance_scale_2=second,
        max_sequence_length=16,
    )
    expected = stock(latents=start.clone(), output_type="pt", **shared).frames[0].permute(0, 2, 3, 1)
    latents = stock(latents=start.clone(), output_type="latent", **shared).frames
    levels = stock.scheduler.sigmas.tolist()
    monkeypatch.setattr(backbone, "sigmas", lambda *_: levels)
    sampler = Sampler(steps=5, cfg_scale=4.0, cfg_scale_2=second)
    negative = replace(case, negative_prompt=NEGATIVE)
    result = transfer_case(backbone, Method(), sampler, negative, TensorCache(None))
    torch.testing.assert_close(result.latents_BCFHW, latents, rtol=1e-4, atol=1e-4)
    assert (backbone.decode(latents) - expected).abs().max() < 1e-3
    assert any(level < BOUNDARY for level in levels[:-1])
    assert sum(level >= BOUNDARY for level in levels) > 1


def test_the_expert_in_charge_is_that_of_the_noise_level(a14b: WanExpertsBackbone, noise: Tensor) -> None:
    """Velocities and readings, whatever was in charge before."""
    text = a14b.embed(PROMPT)
    high, low = (expert for expert, _ in a14b.experts)
    for before in (1.0, 0.1):
        for sigma, expert in ((1.0, high), (BOUNDARY, high), (0.874, low), (0.2, low)):
            a14b.choose_expert(before)
            with torch.no_grad():
                own = expert(noise, torch.tensor([1000.0 * sigma]), text, return_dict=False)[0]
                assert torch.equal(a14b.velocity(noise, sigma, text), own)
            assert a14b.transformer is expert
            for reading in (
                lambda s: a14b.query_key(noise, s, text, 1, True),
                lambda s: a14b.tapped_velocity(noise, s, text, 1, True),
                lambda s: a14b.hidden(noise, s, text, 1),
            ):
                a14b.choose_expert(before)
                reading(sigma)
                assert a14b.transformer is expert
            for change in (
                lambda s: a14b.keys_and_values_of(noise, s, text),
                lambda s: a14b.rotated_by(a14b.rotation(), s),
            ):
                a14b.choose_expert(before)
                with change(sigma):
                    assert a14b.transformer is expert


@pytest.mark.gpu
def test_only_the_expert_in_charge_is_on_the_device(folders: dict[str, Path]) -> None:
    backbone = WanExpertsBackbone(str(folders["a14b"]), name="a14b", **SMALL | {"device": "cuda"})
    noise = seeded_noise(backbone.layout.latent_shape, 3, backbone.device)
    for sigma in (1.0, 0.3, 0.95):
        backbone.velocity(noise, sigma, backbone.embed(PROMPT))
        where = [{p.device.type for p in expert.parameters()} for expert, _ in backbone.experts]
        assert where == ([{"cuda"}, {"cpu"}] if sigma >= BOUNDARY else [{"cpu"}, {"cuda"}])


@pytest.mark.parametrize("name", TUNED)
def test_adapters_belong_to_the_expert_of_high_noise(
    a14b: WanExpertsBackbone, noise: Tensor, case: TransferCase, name: str
) -> None:
    """Tuned at its levels alone, in place in its steps alone; the other one samples as it is, and nothing is left."""
    high, low = (expert for expert, _ in a14b.experts)
    before = remains(high), remains(low)
    ran: list[bool] = []
    hooks = [
        high.register_forward_hook(lambda *_: ran.append(True)),
        low.register_forward_hook(lambda *_: ran.append(False)),
    ]
    plain = transfer_case(a14b, Method(), Sampler(steps=2, shift=3.0), case, TensorCache(None))
    method = make(name, Tuning(iterations=4, lr=0.05, shift=3.0))
    ran.clear()
    result = transfer_case(a14b, method, Sampler(steps=2, shift=3.0), case, TensorCache(None))
    for hook in hooks:
        hook.remove()
    assert (remains(high), remains(low)) == before
    assert all(row["sigma"] >= BOUNDARY for row in result.trace)
    assert len(ran) > 4
    assert ran[-4:] == [True, True, False, False]
    assert all(ran[:-4])
    assert not torch.equal(result.latents_BCFHW, plain.latents_BCFHW)


def test_draws_above_a_level_are_the_uniform_ones_there() -> None:
    levels = torch.tensor([each.sigma for each in Tuning(iterations=4000, lr=1.0, shift=3.0).draws(BOUNDARY)])
    assert float(levels.min()) >= BOUNDARY
    unshifted = levels / (3 - 2 * levels)
    low = BOUNDARY / (3 - 2 * BOUNDARY)
    assert abs(float(unshifted.mean()) - (1 + low) / 2) < 0.01
    assert [each.sigma for each in Tuning(iterations=9, lr=1.0, shift=3.0).draws(0.0)] == [
        each.sigma for each in Tuning(iterations=9, lr=1.0, shift=3.0).draws()
    ]


def test_layouts(folders: dict[str, Path]) -> None:
    assert WanExpertsBackbone.layout_of(str(folders["a14b"]), **SIZE).boundary == BOUNDARY
    assert WanBackbone.layout_of(str(folders["ti2v_5b"]), **SIZE).boundary is None
    with pytest.raises(ValueError, match=r"^transformer_2=.* backbone=wan22_a14b$"):
        WanBackbone.layout_of(str(folders["a14b"]), **SIZE)
    with pytest.raises(ValueError, match=r"boundary_ratio=null in .*model_index\.json must be a noise level"):
        WanExpertsBackbone.layout_of(str(folders["ti2v_5b"]), **SIZE)


@pytest.mark.parametrize(
    ("file", "field", "value", "named"),
    [
        ("model_index.json", "boundary_ratio", 1.5, "boundary_ratio=1.5 in .* must be a noise level"),
        ("model_index.json", "boundary_ratio", True, "boundary_ratio=true in"),
        ("model_index.json", "transformer_2", [None, None], r"transformer_2=\[null, null\] in .* is not supported"),
        ("transformer_2/config.json", "num_layers", 4, "num_layers=4 in .*transformer_2.* is not supported, only 3"),
        ("transformer/config.json", "image_dim", 1280, "image_dim=1280 in"),
    ],
)
def test_experts_that_do_not_fit_are_refused_by_field(
    folders: dict[str, Path], tmp_path: Path, file: str, field: str, value: object, named: str
) -> None:
    folder = shutil.copytree(folders["a14b"], tmp_path / "copy")
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | {field: value}))
    with pytest.raises(ValueError, match=named):
        WanExpertsBackbone.layout_of(str(folder), **SIZE)


def test_fingerprint_covers_both_experts_and_their_boundary(folders: dict[str, Path], tmp_path: Path) -> None:
    own = WanExpertsBackbone.fingerprint_of(str(folders["a14b"]))
    for i, part in enumerate(("transformer", "transformer_2")):
        folder = shutil.copytree(folders["a14b"], tmp_path / str(i))
        (file,) = (folder / part).glob("*.safetensors")
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        assert WanExpertsBackbone.fingerprint_of(str(folder)) != own
    folder = shutil.copytree(folders["a14b"], tmp_path / "index")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"boundary_ratio": 0.9}))
    assert WanExpertsBackbone.fingerprint_of(str(folder)) != own


def test_guided_steps_of_the_preset_belong_to_the_expert_of_high_noise() -> None:
    levels = sigma_schedule(40, 12.0)
    assert all(level >= BOUNDARY for level in levels[:8])  # a fifth of them
    assert levels[26] < BOUNDARY


@pytest.mark.parametrize("name", ["a14b", "ti2v_5b"])
def test_a_run_of_the_command_line_records_its_case(folders: dict[str, Path], name: str, tmp_path: Path) -> None:
    """Every default of the backbone's yaml and preset, but for sizes that the random model has."""
    small = [*ARCHITECTURES[f"wan22_{name}"].overrides, "backbone.height=48", "backbone.width=48"]
    few = ["guidance.block=1", "guidance.iterations=2", "skip.delta=2", "window.l=3", "window.tile=[2,2]"]
    words = [
        *few,
        "sampler.steps=5",
        "benchmark.cases=1",
        "metrics=none",
        "logger=none",
        "cache_dir=null",
        "device=cpu",
    ]
    run(composed(*small, f"backbone.path={folders[name]}", *words, f"output_dir={tmp_path / 'out'}"))
    (file,) = (tmp_path / "out").rglob("case.json")
    record = json.loads(file.read_text())
    assert record["passes"]["gradients"] == record["declared_passes"]["gradients"] > 0
    assert record["frames"] == 9
    assert record["size"] == [48, 48]
