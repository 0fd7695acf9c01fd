"""What a model's folder may bring: held against the architecture before anything is loaded, and never run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fastvmt.backbones import folder as folder_module
from fastvmt.backbones.cogvideox import CogVideoXBackbone
from fastvmt.backbones.folder import PARTS
from fastvmt.backbones.pretrained import Pretrained
from fastvmt.backbones.wan import WanBackbone
from helpers.random_models import SMALL

SIZE = {"name": "x", "frames": 9, "height": 48, "width": 48, "max_tokens": 16}
Changes = Callable[..., Path]


@pytest.fixture
def copied(random_wan: Path, random_cogvideox: Path, tmp_path: Path) -> Changes:
    """A function that copies a random model, changes fields of one of its JSON files, and returns the folder."""

    def copy(kind: type[Pretrained], file: str = "model_index.json", **fields: Any) -> Path:
        source = random_wan if kind is WanBackbone else random_cogvideox
        target = shutil.copytree(source, tmp_path / f"copy{len(list(tmp_path.iterdir()))}")
        content = json.loads((target / file).read_text())
        (target / file).write_text(json.dumps(content | fields))
        return target

    return copy


UNSUPPORTED: list[tuple[type[Pretrained], str, str, Any]] = [
    (WanBackbone, "model_index.json", "_class_name", "WanImageToVideoPipeline"),
    (WanBackbone, "model_index.json", "transformer_2", ["diffusers", "WanTransformer3DModel"]),
    (WanBackbone, "model_index.json", "boundary_ratio", 0.875),
    (WanBackbone, "model_index.json", "expand_timesteps", "yes"),
    (WanBackbone, "transformer/config.json", "_class_name", "WanVACETransformer3DModel"),
    (WanBackbone, "transformer/config.json", "image_dim", 1280),
    (WanBackbone, "transformer/config.json", "added_kv_proj_dim", 48),
    (WanBackbone, "transformer/config.json", "out_channels", 8),
    (WanBackbone, "vae/config.json", "z_dim", 48),
    (WanBackbone, "vae/config.json", "_class_name", "AutoencoderKL"),
    (CogVideoXBackbone, "model_index.json", "_class_name", "CogVideoXImageToVideoPipeline"),
    (CogVideoXBackbone, "transformer/config.json", "patch_size_t", 2),
    (CogVideoXBackbone, "transformer/config.json", "ofs_embed_dim", 512),
    (CogVideoXBackbone, "transformer/config.json", "use_learned_positional_embeddings", True),
    (CogVideoXBackbone, "transformer/config.json", "in_channels", 8),
    (CogVideoXBackbone, "vae/config.json", "latent_channels", 16),
    (CogVideoXBackbone, "vae/config.json", "invert_scale_latents", True),
    (CogVideoXBackbone, "scheduler/scheduler_config.json", "prediction_type", "epsilon"),
    (CogVideoXBackbone, "scheduler/scheduler_config.json", "timestep_spacing", "leading"),
]


@pytest.mark.parametrize(("kind", "file", "field", "value"), UNSUPPORTED)
def test_what_is_not_supported_is_refused_by_field_and_file(
    copied: Changes, kind: type[Pretrained], file: str, field: str, value: Any
) -> None:
    kind.layout_of(str(copied(kind)), **SIZE)
    folder = copied(kind, file, **{field: value})
    named = "out_channels" if field == "in_channels" else field
    with pytest.raises(ValueError, match=f"^{named}=.* in .*{file} is not supported") as error:
        kind.layout_of(str(folder), **SIZE)
    assert "\n" not in str(error.value)


def test_layout_is_read_without_weights(random_wan: Path, tmp_path: Path, backbone: WanBackbone) -> None:
    for part in PARTS:
        source = random_wan / part
        if source.is_dir():
            (tmp_path / part).mkdir()
            for file in source.glob("config.json"):
                shutil.copy(file, tmp_path / part)
        else:
            shutil.copy(source, tmp_path)
    layout = WanBackbone.layout_of(str(tmp_path), **SIZE | {"name": "random_wan"})
    assert layout == backbone.layout
    assert (layout.depth, layout.heads, layout.grid, layout.temporal_factor) == (3, 2, (5, 6, 6), 2)


@pytest.mark.parametrize("kind", [WanBackbone, CogVideoXBackbone])
def test_a_missing_model_is_named_with_what_it_needs(kind: type[Pretrained], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"backbone\.path=.*nowhere' is not a {kind.kind} model") as error:
        kind.layout_of(str(tmp_path / "nowhere"), **SIZE)
    for word in (*PARTS, *kind.published, "backbone=tiny_wan"):
        assert word in str(error.value)
    for part in PARTS[:-1]:
        (tmp_path / part).mkdir()
    with pytest.raises(FileNotFoundError, match="missing scheduler under"):
        kind.layout_of(str(tmp_path), **SIZE)


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_json_file_is_named(copied: Changes, content: str) -> None:
    folder = copied(WanBackbone)
    (folder / "vae" / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"vae/config\.json (cannot be read|holds no JSON object)"):
        WanBackbone.layout_of(str(folder), **SIZE)


@pytest.mark.parametrize("file", ["transformer/model.py", "text_encoder/pytorch_model.bin", "vae.ckpt"])
def test_code_and_pickles_of_a_folder_are_refused(copied: Changes, file: str) -> None:
    folder = copied(WanBackbone)
    (folder / file).write_text("raise SystemExit")
    with pytest.raises(ValueError, match=rf"{file} could run code"):
        WanBackbone.layout_of(str(folder), **SIZE)


@pytest.mark.parametrize("file", ["text_encoder/config.json", "tokenizer/tokenizer_config.json"])
def test_remote_code_is_refused(copied: Changes, file: str) -> None:
    folder = copied(WanBackbone, file, auto_map={"AutoModel": "model.Model"})
    with pytest.raises(ValueError, match=rf"{file} asks for code of its own by auto_map"):
        WanBackbone.layout_of(str(folder), **SIZE)


def change_weights(folder: Path, part: str, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    (file,) = (folder / part).glob("*.safetensors")
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


@pytest.mark.parametrize(
    ("kind", "part"), [(k, p) for k in (WanBackbone, CogVideoXBackbone) for p in ("transformer", "vae", "text_encoder")]
)
def test_weights_that_do_not_fit_are_named(copied: Changes, kind: type[Pretrained], part: str) -> None:
    """One tensor is gone, one has another name, one another shape: one error, before anything is loaded."""
    folder, names = copied(kind), []

    def damage(tensors: dict[str, torch.Tensor]) -> None:
        names.extend(sorted(name for name in tensors if "shared" not in name and "embed_tokens" not in name)[:3])
        gone, renamed, cut = names
        del tensors[gone]
        tensors["other"] = tensors.pop(renamed)
        tensors[cut] = tensors[cut].flatten()[:1].clone()

    change_weights(folder, part, damage)
    with pytest.raises(ValueError, match="does not hold") as error:
        kind(str(folder), name="x", **SMALL)
    start, message = f"{folder / part} does not hold the weights of its config.json", str(error.value)
    assert message.startswith(start) and "\n" not in message
    assert message.endswith(f": missing {names[0]}, {names[1]}; unexpected other; of another shape {names[2]}")


@pytest.mark.parametrize(
    ("kind", "file", "fields"),
    [
        (WanBackbone, "transformer/config.json", {"num_layers": "six"}),
        (WanBackbone, "transformer/config.json", {"num_layers": 10**6}),
        (WanBackbone, "transformer/config.json", {"num_layers": True}),
        (WanBackbone, "transformer/config.json", {"patch_size": [1, 2]}),
        (WanBackbone, "transformer/config.json", {"patch_size": [0, 0, 0]}),
        (WanBackbone, "transformer/config.json", {"patch_size": 2}),
        (WanBackbone, "transformer/config.json", {"ffn_dim": None}),
        (WanBackbone, "transformer/config.json", {"rope_max_seq_len": 2}),
        (WanBackbone, "vae/config.json", {"scale_factor_spatial": 0}),
        (WanBackbone, "vae/config.json", {"scale_factor_temporal": 3}),
        (WanBackbone, "vae/config.json", {"temperal_downsample": 2}),
        (WanBackbone, "vae/config.json", {"dim_mult": "1, 2"}),
        (WanBackbone, "vae/config.json", {"latents_std": [0.0] * 16}),
        (WanBackbone, "vae/config.json", {"latents_std": [1e38] * 16}),
        (WanBackbone, "vae/config.json", {"latents_mean": [float("nan")] * 16}),
        (WanBackbone, "vae/config.json", {"latents_mean": []}),
        (WanBackbone, "model_index.json", {"transformer": ["os", "system"]}),
        (WanBackbone, "model_index.json", {"vae": None}),
        (CogVideoXBackbone, "model_index.json", {"text_encoder": ["transformers", "UMT5EncoderModel"]}),
        (CogVideoXBackbone, "transformer/config.json", {"num_layers": 0}),
        (CogVideoXBackbone, "transformer/config.json", {"patch_size": [2, 2]}),
        (CogVideoXBackbone, "vae/config.json", {"block_out_channels": []}),
    ],
)
def test_values_that_no_model_has_are_named(
    copied: Changes, kind: type[Pretrained], file: str, fields: dict[str, Any]
) -> None:
    folder, (field,) = copied(kind, file, **fields), fields
    sizes = SIZE | ({} if kind is WanBackbone else {"max_tokens": 226})
    with pytest.raises(ValueError, match=rf"^{field}=.*{file}") as error:
        kind.layout_of(str(folder), **sizes)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize(("side", "most"), [("frames", 63), ("height", 256), ("width", 256)])
def test_a_clip_has_no_more_positions_than_the_model(random_wan: Path, side: str, most: int) -> None:
    """32 along each side: latent frames of two frames, tokens of 2 x 2 latents of 4 x 4 pixels."""
    largest = {"frames": 9, "height": 48, "width": 48, "max_tokens": 8, side: most}
    assert (
        WanBackbone.layout_of(str(random_wan), name="x", **largest).grid[("frames", "height", "width").index(side)]
        == 32
    )
    with pytest.raises(ValueError, match=rf"rope_max_seq_len=32 in .* backbone.{side}=\d+ .* at most {most}$"):
        WanBackbone.layout_of(str(random_wan), name="x", **(largest | {side: most + (2 if side == "frames" else 8)}))


@pytest.mark.parametrize("content", ["[1]", "{", '{"weight_map": {}}', '{"weight_map": {"a": "../x.safetensors"}}'])
def test_an_index_of_weights_that_is_damaged_or_leaves_the_folder_is_refused(copied: Changes, content: str) -> None:
    folder = copied(WanBackbone)
    index = folder / "vae" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(content)
    with pytest.raises(ValueError, match=rf"^{index} "):
        WanBackbone(str(folder), name="x", **SMALL)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("vocabulary.json", "[1]"),
        ("vocabulary.json", '{"objects": "dog"}'),
        ("tokenizer/tokenizer.json", "[1]"),
        ("tokenizer/tokenizer_config.json", "{}"),
    ],
)
def test_damaged_words_of_a_model_are_refused(copied: Changes, file: str, content: str) -> None:
    folder = copied(WanBackbone)
    (folder / file).write_text(content)
    with pytest.raises(ValueError, match=file.split("/")[0]):
        WanBackbone(str(folder), name="x", **SMALL)


def test_whole_numbers_are_no_weights(copied: Changes) -> None:
    folder = copied(WanBackbone)
    change_weights(folder, "vae", lambda tensors: tensors.update({n: t.to(torch.int32) for n, t in tensors.items()}))
    with pytest.raises(ValueError, match="holds whole numbers, not weights"):
        WanBackbone(str(folder), name="x", **SMALL)


def test_half_a_text_encoder_is_refused_and_the_number_of_holes_told(copied: Changes) -> None:
    folder = copied(WanBackbone)

    def halve(tensors: dict[str, torch.Tensor]) -> None:
        for name in sorted(tensors)[: len(tensors) // 2]:
            del tensors[name]

    change_weights(folder, "text_encoder", halve)
    with pytest.raises(ValueError, match=r"UMT5EncoderModel\): missing .* and \d+ more$"):
        WanBackbone(str(folder), name="x", **SMALL)


def test_either_name_of_tied_weights_is_enough(copied: Changes) -> None:
    folder = copied(WanBackbone)

    def rename(tensors: dict[str, torch.Tensor]) -> None:
        tensors["encoder.embed_tokens.weight"] = tensors.pop("shared.weight")

    before = WanBackbone(str(folder), name="x", **SMALL).embed("a dog on grass")
    change_weights(folder, "text_encoder", rename)
    assert torch.equal(WanBackbone(str(folder), name="x", **SMALL).embed("a dog on grass"), before)
    change_weights(folder, "text_encoder", lambda tensors: tensors.pop("encoder.embed_tokens.weight"))
    with pytest.raises(ValueError, match=r"missing encoder\.embed_tokens\.weight, shared\.weight"):
        WanBackbone(str(folder), name="x", **SMALL)


def test_a_missing_or_damaged_file_of_weights_is_named(copied: Changes) -> None:
    folder = copied(WanBackbone)
    (file,) = (folder / "vae").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=rf"{file.name} cannot be read: .*Download the model again"):
        WanBackbone(str(folder), name="x", **SMALL)
    file.unlink()
    with pytest.raises(ValueError, match="vae holds no weights"):
        WanBackbone(str(folder), name="x", **SMALL)


@pytest.mark.parametrize("kind", [WanBackbone, CogVideoXBackbone])
def test_a_short_transformer_does_not_round_the_autoencoder(copied: Changes, kind: type[Pretrained]) -> None:
    folder = copied(kind)
    (file,) = (folder / "vae").glob("*.safetensors")
    stored, loaded = load_file(file), kind(str(folder), name="x", **SMALL | {"dtype": "bfloat16"})
    own = loaded.vae.state_dict()
    assert all(tensor.dtype == torch.float32 and torch.equal(tensor, stored[name]) for name, tensor in own.items())
    assert any(not torch.equal(tensor, tensor.bfloat16().float()) for tensor in stored.values())
    assert (
        loaded.blocks[0].attention.to_q.weight.dtype == loaded.text_encoder.load().shared.weight.dtype == torch.bfloat16
    )


def test_fingerprint_follows_the_weights(random_wan: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(random_wan, tmp_path / "copy")
    loaded = WanBackbone(str(folder), name="x", **SMALL)
    before = loaded.fingerprint
    assert before == WanBackbone(str(random_wan), name="y", **SMALL).fingerprint
    file = next((folder / "transformer").glob("*.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert loaded.fingerprint != before


def test_fingerprint_of_a_model_with_a_schedule_of_its_own_follows_that_too(copied: Changes) -> None:
    first, second = copied(CogVideoXBackbone), copied(CogVideoXBackbone)
    (second / "scheduler" / "scheduler_config.json").touch()
    prints = [CogVideoXBackbone(str(folder), name="x", **SMALL).fingerprint for folder in (first, second)]
    assert prints[0] == prints[1]
    third = copied(CogVideoXBackbone, "scheduler/scheduler_config.json", snr_shift_scale=2.0)
    assert CogVideoXBackbone(str(third), name="x", **SMALL).fingerprint != prints[0]


def test_fingerprint_is_read_once_while_the_files_stay(random_wan: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(random_wan, tmp_path / "copy")
    folder_module.digest.cache_clear()
    first = [folder_module.fingerprint(folder, WanBackbone.identity) for _ in range(3)]
    assert len(set(first)) == 1
    assert (folder_module.digest.cache_info().misses, folder_module.digest.cache_info().hits) == (1, 2)
    os.utime(folder / "vae" / "config.json", ns=(1, 1))
    assert folder_module.fingerprint(folder, WanBackbone.identity) == first[0]
    assert folder_module.digest.cache_info().misses == 2
