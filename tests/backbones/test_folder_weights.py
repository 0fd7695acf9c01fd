"""The weights of a model's folder: held against the architecture, loaded as they are stored, and told apart."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fastvmt.backbones import folder as folder_module
from fastvmt.backbones.cogvideox import CogVideoXBackbone
from fastvmt.backbones.pretrained import Pretrained
from fastvmt.backbones.wan import WanBackbone
from helpers.random_models import SMALL, Changes


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


@pytest.mark.parametrize("content", ["[1]", "{", '{"weight_map": {}}', '{"weight_map": {"a": "../x.safetensors"}}'])
def test_an_index_of_weights_that_is_damaged_or_leaves_the_folder_is_refused(copied: Changes, content: str) -> None:
    folder = copied(WanBackbone)
    index = folder / "vae" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(content)
    with pytest.raises(ValueError, match=rf"^{index} "):
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
