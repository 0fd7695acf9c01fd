"""What a model's folder may bring: held against the architecture before anything is loaded, and never run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from fastvmt.backbones.cogvideox import CogVideoXBackbone
from fastvmt.backbones.folder import PARTS
from fastvmt.backbones.pretrained import Pretrained
from fastvmt.backbones.wan import WanBackbone
from helpers.random_models import SMALL, Changes

SIZE = {"name": "x", "frames": 9, "height": 48, "width": 48, "max_tokens": 16}
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


@pytest.mark.parametrize("content", ["", "{", "[]", pytest.param("[" * 100_000, id="nested")])
def test_a_damaged_json_file_is_named(copied: Changes, content: str) -> None:
    folder = copied(WanBackbone)
    (folder / "vae" / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"vae/config\.json (is damaged|holds no JSON object)"):
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


@pytest.mark.parametrize(
    ("side", "most", "positions", "step"), [("frames", 61, 31, 4), ("height", 256, 32, 8), ("width", 256, 32, 8)]
)
def test_a_clip_has_no_more_positions_than_the_model(
    random_wan: Path, side: str, most: int, positions: int, step: int
) -> None:
    """32 along each side, of which clips of 4 k + 1 frames reach 31: tokens of 2 frames and 8 x 8 pixels."""
    largest = {"frames": 9, "height": 48, "width": 48, "max_tokens": 8, side: most}
    assert (
        WanBackbone.layout_of(str(random_wan), name="x", **largest).grid[("frames", "height", "width").index(side)]
        == positions
    )
    with pytest.raises(ValueError, match=rf"rope_max_seq_len=32 in .* backbone.{side}=\d+ .* at most {most}$"):
        WanBackbone.layout_of(str(random_wan), name="x", **(largest | {side: most + step}))


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
