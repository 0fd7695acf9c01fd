"""A tiny random CLIP with quick-GELU, saved in every form that CLIP is published in, embeds the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize
from transformers import CLIPConfig, CLIPModel

import fastvmt.torchvision_ops  # noqa: F401  before open_clip, which imports torchvision

# isort: split
import open_clip
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

from fastvmt.metrics import encoder as encoder_module
from fastvmt.metrics.encoder import ClipEncoder, RememberingEncoder
from fastvmt.metrics.functional import temporal_consistency
from fastvmt.metrics.weights import MissingWeightsError

WIDTH, LAYERS = 64, 2
TINY = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": LAYERS, "width": WIDTH, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": WIDTH, "heads": 1, "layers": LAYERS},
}
PROMPTS = ["a dog on grass", "two frogs in the snow"]
LONG = "a dog runs over green grass " * 30


@pytest.fixture(scope="module")
def original() -> nn.Module:
    """The reference: exact in half precision, as OpenAI's archives are, with steep MLPs, where GELUs differ."""
    torch.manual_seed(0)
    model = open_clip.model.CLIP(**TINY).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(8 if "c_fc" in name else 1).copy_(parameter.half().float())
    return model


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> None:
    """open_clip knows the architecture, with quick-GELU in its name and without."""
    folder = tmp_path_factory.mktemp("architectures")
    (folder / "tiny-quickgelu.json").write_text(json.dumps(TINY))
    (folder / "tiny.json").write_text(json.dumps(TINY | {"quick_gelu": False}))
    open_clip.add_model_config(folder)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.contiguous() for key, value in model.state_dict().items()}


def as_folder(model: nn.Module, folder: Path) -> Path:
    save_file(tensors(model), folder / "open_clip_model.safetensors")
    cfg = {"mean": list(OPENAI_DATASET_MEAN), "std": list(OPENAI_DATASET_STD)}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": cfg}))
    return folder


def as_safetensors(model: nn.Module, folder: Path) -> Path:
    save_file(tensors(model), folder / "open_clip_model.safetensors")
    return folder / "open_clip_model.safetensors"


def as_bin(model: nn.Module, folder: Path) -> Path:
    torch.save(tensors(model), folder / "open_clip_pytorch_model.bin")
    return folder / "open_clip_pytorch_model.bin"


class Holder(nn.Module):
    """Parameters under dotted names, and code, which makes it a TorchScript archive."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def as_torchscript(model: nn.Module, folder: Path) -> Path:
    root = Holder()
    for key, value in model.state_dict().items():
        *path, last = key.split(".")
        owner: nn.Module = root
        for part in path:
            if part not in dict(owner.named_children()):
                owner.add_module(part, Holder())
            owner = owner.get_submodule(part)
        owner.register_parameter(last, nn.Parameter(value.half(), requires_grad=False))
    torch.jit.script(root).save(str(folder / "archive.pt"))
    return folder / "archive.pt"


def as_transformers(model: nn.Module, folder: Path) -> Path:
    """transformers' names for the same tensors; queries, keys and values are separate there."""
    tower = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "hidden_act": "quick_gelu",
    }
    config = CLIPConfig(
        text_config=tower | {"num_attention_heads": 1, "eos_token_id": 49407, "bos_token_id": 49406},
        vision_config=tower | {"num_attention_heads": 1, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )  # fmt: skip
    theirs, mine = CLIPModel(config), model.state_dict()
    state = {
        "logit_scale": mine["logit_scale"],
        "text_projection.weight": mine["text_projection"].T,
        "visual_projection.weight": mine["visual.proj"].T,
        "text_model.embeddings.token_embedding.weight": mine["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": mine["positional_embedding"],
        "vision_model.embeddings.class_embedding": mine["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": mine["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": mine["visual.positional_embedding"],
    }
    norms = {"text_model.final_layer_norm": "ln_final", "vision_model.pre_layrnorm": "visual.ln_pre"}
    norms["vision_model.post_layernorm"] = "visual.ln_post"
    for prefix, block in (("text_model", "transformer"), ("vision_model", "visual.transformer")):
        for k in range(LAYERS):
            to, of = f"{prefix}.encoder.layers.{k}", f"{block}.resblocks.{k}"
            parts = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
            norms |= {f"{to}.{a}": f"{of}.{b}" for a, b in parts.items()}
            norms[f"{to}.self_attn.out_proj"] = f"{of}.attn.out_proj"
            for kind in ("weight", "bias"):
                rows = mine[f"{of}.attn.in_proj_{kind}"].chunk(3)
                state |= {f"{to}.self_attn.{n}_proj.{kind}": r for n, r in zip("qkv", rows, strict=True)}
    state |= {f"{a}.{kind}": mine[f"{b}.{kind}"] for a, b in norms.items() for kind in ("weight", "bias")}
    lost = theirs.load_state_dict(state, strict=False)
    assert not lost.unexpected_keys and all("position_ids" in key for key in lost.missing_keys)
    theirs.save_pretrained(folder)
    return folder


FORMS = {f.__name__: f for f in (as_folder, as_safetensors, as_bin, as_torchscript, as_transformers)}


def clip(numbers: int = 5, height: int = 40, width: int = 60) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (numbers, 3, height, width), generator=g, dtype=torch.uint8)


def prepared_by_hand(frames: Tensor) -> Tensor:
    """Shorter side to 32 with PIL, centre crop, normalise."""
    images = []
    for frame in frames.permute(0, 2, 3, 1).numpy():
        small = Image.fromarray(frame).resize((48, 32), Image.Resampling.BICUBIC).crop((8, 0, 40, 32))
        images.append(torch.from_numpy(np.asarray(small, np.float32) / 255).permute(2, 0, 1))
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    return (torch.stack(images) - mean) / std


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_embeddings(original, registered, tmp_path: Path, form: str) -> None:
    encoder = ClipEncoder(FORMS[form](original, tmp_path), architecture="tiny-quickgelu")
    frames = clip()
    images = normalize(original.encode_image(prepared_by_hand(frames)), dim=-1)
    torch.testing.assert_close(encoder.encode_images(frames), images, atol=1e-4, rtol=0)
    for prompts in (PROMPTS, [LONG]):
        tokens = open_clip.SimpleTokenizer()(prompts)
        assert (tokens == 49407).sum(1).tolist() == [1] * len(prompts)  # the end token is there, cut or not
        texts = normalize(original.encode_text(tokens), dim=-1)
        torch.testing.assert_close(encoder.encode_text(prompts), texts, atol=1e-4, rtol=0)
    assert [encoder.truncates(prompt) for prompt in (*PROMPTS, LONG)] == [False, False, True]
    assert [encoder.truncates("dog " * words) for words in (75, 76)] == [False, True]  # start and end make 77
    assert len(encoder.provenance["weights_sha256"]) == 64


@torch.no_grad()
def test_plain_gelu_would_be_wrong_and_is_not_guessed(original, registered, tmp_path: Path) -> None:
    file = as_safetensors(original, tmp_path)
    with pytest.raises(ValueError, match=r"does not say which GELU.*tiny-quickgelu"):
        ClipEncoder(file, architecture="tiny")
    right = ClipEncoder(file, architecture="tiny-quickgelu").encode_images(clip())
    forced = ClipEncoder(file, architecture="tiny", quick_gelu=True).encode_images(clip())
    plain = ClipEncoder(file, architecture="tiny", quick_gelu=False).encode_images(clip())
    torch.testing.assert_close(forced, right)
    assert (plain - right).abs().max() > 1e-3  # the trap is real: no error, other embeddings
    with pytest.raises(ValueError, match="contradicts"):
        ClipEncoder(file, architecture="tiny-quickgelu", quick_gelu=False)
    with pytest.raises(ValueError, match=r"'tiny-quick' is unknown.*metrics\.clip\.architecture"):
        ClipEncoder(file, architecture="tiny-quick")
    with pytest.raises(ValueError, match="does not fit architecture='ViT-B-32-quickgelu'"):
        ClipEncoder(file)


@torch.no_grad()
def test_a_cut_prompt_without_its_end_token_would_embed_differently(original, tmp_path: Path) -> None:
    encoder = ClipEncoder(as_folder(original, tmp_path))
    sliced = open_clip.SimpleTokenizer()([LONG], context_length=400)[:, :77]
    assert (sliced == 49407).sum() == 0
    wrong = normalize(original.encode_text(sliced), dim=-1)
    assert (encoder.encode_text([LONG]) - wrong).abs().max() > 1e-3


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
    with pytest.raises(ValueError, match=r"metrics\.clip\.preprocess='squash'"):
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


@pytest.mark.parametrize("missing", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_incomplete_folders_are_refused(original, tmp_path: Path, missing: str) -> None:
    as_folder(original, tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(MissingWeightsError, match=rf"lacks {missing}.*MIT.*metrics\.clip\.model"):
        ClipEncoder(tmp_path)


def test_a_transformers_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MissingWeightsError, match=r"OpenAI.*MB.*MIT.*metrics\.clip\.model=<path>"):
        ClipEncoder(tmp_path)


def test_a_transformers_folder_that_lacks_a_tensor_is_refused(original, tmp_path: Path) -> None:
    folder = as_transformers(original, tmp_path / "clip")
    state = load_file(folder / "model.safetensors")
    del state["visual_projection.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ValueError, match=r"lacks tensors, the first is visual_projection\.weight.*metrics\.clip\.model"
    ):
        ClipEncoder(folder)


@pytest.mark.parametrize("path", [None, "nowhere/ViT-B-32.pt"])
def test_missing_files_are_named(path: str | None) -> None:
    with pytest.raises(MissingWeightsError, match=r"ViT-B-32\.pt.*OpenAI.*MB.*MIT.*metrics\.clip\.model=<path>"):
        ClipEncoder(path)


def test_a_file_that_is_not_what_its_name_says_is_refused(original, tmp_path: Path) -> None:
    impostor = as_torchscript(original, tmp_path).rename(tmp_path / "ViT-B-32.pt")
    with pytest.raises(ValueError, match=r"SHA-256 starts with [0-9a-f]{8}, ViT-B-32\.pt has 40d36571"):
        ClipEncoder(impostor)


@pytest.mark.parametrize("form", FORMS)
def test_half_a_download_is_named_in_every_form(original, registered, tmp_path: Path, form: str) -> None:
    given = FORMS[form](original, tmp_path)
    weights = max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"{weights.name}' is damaged.*metrics\.weights\.clip_l14=<path>"):
        ClipEncoder(given, architecture="tiny-quickgelu", source="clip_l14")


def test_an_archive_of_something_else_is_named(tmp_path: Path) -> None:
    torch.jit.script(Holder()).save(str(tmp_path / "other.pt"))
    with pytest.raises(ValueError, match=r"other\.pt' is damaged or not an archive.*metrics\.clip\.model=<path>"):
        ClipEncoder(tmp_path / "other.pt")


def test_a_folder_whose_files_do_not_fit_is_named(original, tmp_path: Path) -> None:
    (as_folder(original, tmp_path) / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": TINY | {"embed_dim": 8}})
    )
    with pytest.raises(ValueError, match=r"is no CLIP folder of open_clip's.*metrics\.clip\.model=<path>"):
        ClipEncoder(tmp_path)


def test_nothing_is_unpickled(original, registered, tmp_path: Path) -> None:
    ran: list[str] = []

    class Evil:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return ran.append, ("x",)

    torch.save({"visual.proj": Evil()}, tmp_path / "evil.bin")
    with pytest.raises(ValueError, match="nothing else is unpickled"):
        ClipEncoder(tmp_path / "evil.bin", architecture="tiny-quickgelu")
    assert ran == []
