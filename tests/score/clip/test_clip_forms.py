"""A tiny random CLIP embeds the same from every form that is read or converted; other files are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import normalize

import fastvmt.torchvision_ops  # noqa: F401  before open_clip, which imports torchvision

# isort: split
import open_clip

from experiments.tools.convert_clip import convert, main
from fastvmt.score.clip.encoder import ClipEncoder
from fastvmt.score.clip.files import CLIP_L14
from fastvmt.score.weights import MissingWeightsError
from helpers.clip_forms import (
    FORMS,
    LONG,
    OTHERS,
    PROMPTS,
    TINY,
    Holder,
    as_bin,
    as_folder,
    as_safetensors,
    as_torchscript,
    as_transformers,
    clip,
    prepared_by_hand,
    random_clip,
)


@pytest.fixture(scope="module")
def original() -> nn.Module:
    return random_clip()


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> None:
    """open_clip knows the architecture, with quick-GELU in its name and without."""
    folder = tmp_path_factory.mktemp("architectures")
    (folder / "tiny-quickgelu.json").write_text(json.dumps(TINY))
    (folder / "tiny.json").write_text(json.dumps(TINY | {"quick_gelu": False}))
    open_clip.add_model_config(folder)


@torch.no_grad()
@pytest.mark.parametrize("form", [*FORMS, *(f"converted {name}" for name in OTHERS)])
def test_every_form_gives_the_same_embeddings(original, registered, tmp_path: Path, form: str) -> None:
    if form.startswith("converted"):
        given = OTHERS[form.split()[1]](original, tmp_path)
        path = convert(given, tmp_path / "converted", "tiny-quickgelu")
    else:
        path = FORMS[form](original, tmp_path)
    encoder = ClipEncoder(path, architecture="tiny-quickgelu")
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


@pytest.mark.parametrize("missing", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_incomplete_folders_are_refused(original, tmp_path: Path, missing: str) -> None:
    as_folder(original, tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(MissingWeightsError, match=rf"lacks {missing}.*MIT.*metrics\.clip\.model"):
        ClipEncoder(tmp_path)


def test_other_forms_are_refused_with_what_converts_them(original, registered, tmp_path: Path) -> None:
    for given in (as_transformers(original, tmp_path / "clip"), as_bin(original, tmp_path)):
        with pytest.raises(
            (MissingWeightsError, ValueError), match=r"python -m experiments\.tools\.convert_clip"
        ) as said:
            ClipEncoder(given)
        assert "metrics.clip.model=<path>" in str(said.value)


def test_the_converter_names_what_does_not_fit(original, registered, tmp_path: Path, capsys) -> None:
    folder = as_transformers(original, tmp_path / "clip")
    state = load_file(folder / "model.safetensors")
    del state["visual_projection.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks the tensor 'visual_projection\.weight'"):
        convert(folder, tmp_path / "out")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"lacks model\.safetensors"):
        convert(folder, tmp_path / "out")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["vocab_size"] = 1000
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="1000 tokens"):
        convert(folder, tmp_path / "out")
    tensors = as_bin(original, tmp_path)
    with pytest.raises(ValueError, match="does not fit ViT-B-32-quickgelu"):
        convert(tensors, tmp_path / "out")
    with pytest.raises(SystemExit) as stopped:
        main([str(tensors), str(tmp_path / "out"), "--architecture", "tiny-quick"])
    assert stopped.value.code == 2 and "tiny-quick is unknown to open_clip" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


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
        ClipEncoder(given, architecture="tiny-quickgelu", source=CLIP_L14)


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

    torch.save({"visual.proj": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="nothing else is unpickled"):
        ClipEncoder(tmp_path / "evil.pt", architecture="tiny-quickgelu")
    with pytest.raises(ValueError, match="nothing else is unpickled"):
        convert(tmp_path / "evil.pt", tmp_path / "out", "tiny-quickgelu")
    assert ran == []
