"""The text encoder is loaded for prompts that no one has embedded, once for all of them, and let go of."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import UMT5EncoderModel

from fastvmt.backbones import text_encoder
from fastvmt.backbones.wan import WanBackbone
from fastvmt.cache import TensorCache
from helpers.random_models import SMALL

PROMPTS = ["a dog on grass", "", "a red car on sand"]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref]:
    """The encoders that were loaded, as weak references."""
    references: list[weakref.ref] = []
    load = text_encoder.load

    def noted(*args: Any) -> Any:
        model = load(*args)
        assert isinstance(model, UMT5EncoderModel)
        references.append(weakref.ref(model))
        return model

    monkeypatch.setattr(text_encoder, "load", noted)
    return references


def test_all_prompts_are_embedded_by_one_encoder_that_is_let_go_of(
    random_wan: Path, tmp_path: Path, loaded: list[weakref.ref], pipeline: Any
) -> None:
    first = WanBackbone(str(random_wan), name="x", **SMALL, embeddings=TensorCache(tmp_path), prompts=PROMPTS)
    gc.collect()
    assert [reference() for reference in loaded] == [None]
    again = WanBackbone(str(random_wan), name="x", **SMALL, embeddings=TensorCache(tmp_path), prompts=PROMPTS)
    for prompt in PROMPTS:
        with torch.no_grad():  # attention with a gradient differs in last bits
            expected = pipeline.encode_prompt(prompt, do_classifier_free_guidance=False, max_sequence_length=16)[0]
        assert torch.equal(first.embed(prompt), expected)
        assert torch.equal(again.embed(prompt), expected)
    assert len(loaded) == 1
    again.embed("a ball on snow")
    assert len(loaded) == 2
    assert loaded[1]() is None


@pytest.mark.parametrize("change", [{"dtype": "bfloat16"}, {"max_tokens": 8}])
def test_embeddings_of_other_settings_are_not_taken(
    random_wan: Path, tmp_path: Path, loaded: list[weakref.ref], change: dict[str, Any]
) -> None:
    WanBackbone(str(random_wan), name="x", **SMALL, embeddings=TensorCache(tmp_path), prompts=PROMPTS)
    other = WanBackbone(str(random_wan), name="x", **SMALL | change, embeddings=TensorCache(tmp_path), prompts=PROMPTS)
    own = WanBackbone(str(random_wan), name="x", **SMALL | change)
    assert len(loaded) == 2
    assert torch.equal(other.embed(PROMPTS[0]), own.embed(PROMPTS[0]))


def test_a_backend_of_attention_that_is_not_there_is_refused(random_wan: Path) -> None:
    with pytest.raises(ValueError, match=r"backbone\.attention=flash: .*; set backbone\.attention=native$"):
        WanBackbone(str(random_wan), name="x", **SMALL, attention="flash")
