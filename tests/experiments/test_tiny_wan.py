"""The shipped model: loads with diffusers as it is, stays small, knows its words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanPipeline

import fastvmt
from experiments.tiny_wan.captions import sample_caption
from experiments.tiny_wan.wording import FORMS, prompts
from fastvmt.backbones.wan import WanBackbone
from fastvmt.benchmarks import WorldBenchmark
from fastvmt.methods.transfer import warn_unknown
from fastvmt.world.vocabulary import BACKGROUNDS, OBJECTS

MODELS = Path(fastvmt.__file__).parent / "models"


@pytest.fixture(scope="module")
def tiny_wan() -> WanBackbone:
    return WanBackbone(
        "tiny-wan", name="tiny-wan", frames=9, height=96, width=96, fps=8, max_tokens=16, dtype="float32", device="cpu"
    )


def test_models_are_small_and_carry_a_card():
    assert sum(file.stat().st_size for file in MODELS.rglob("*") if file.is_file()) <= 24e6
    for name in ("tiny-wan", "tiny-clip"):
        assert "MIT" in (MODELS / name / "README.md").read_text()


def test_diffusers_loads_the_folder_as_it_is():
    pipeline = WanPipeline.from_pretrained(MODELS / "tiny-wan", local_files_only=True)
    assert type(pipeline.transformer).__name__ == "WanTransformer3DModel"
    assert type(pipeline.vae).__name__ == "AutoencoderKLWan"


def test_grid_is_fine_enough(tiny_wan):
    assert tiny_wan.layout.grid == (5, 12, 12)


def test_autoencoder_reconstructs_held_out_clips(tiny_wan):
    benchmark = WorldBenchmark(tiny_wan.layout.clip, 8, 0, cases=4, categories=["single_object", "camera"], seed=7)
    errors = []
    for case in benchmark:
        pixels = case.reference.frames_THWC.float() / 255
        errors.append((tiny_wan.decode(tiny_wan.encode(case.reference)) - pixels).square().mean())
    assert -10 * torch.stack(errors).mean().log10() > 29  # 31.9 dB on average over 64 clips, worst 26.4


def test_prompts_outside_the_vocabulary_are_named(tiny_wan, caplog):
    assert tiny_wan.unknown_words("A red Car, on the sand!") == []
    assert tiny_wan.unknown_words("a red car - 'zebra', on (the) sand!") == ["zebra"]
    warn_unknown(tiny_wan, "a giraffe on grass")
    assert re.search(r"giraffe.*objects: dog, panda.*backgrounds: grass", caplog.text)
    with pytest.warns(UserWarning, match="backbone.max_tokens=16 cuts a prompt of 2"):
        tiny_wan.embed("a red car and " * 5 + "a dog on sand")
    assert tiny_wan.vocabulary == {"objects": list(OBJECTS), "backgrounds": list(BACKGROUNDS)}


def test_the_judged_wordings_never_occur_in_captions():
    pair = [("dog", "grass")]
    assert prompts(FORMS["synonyms"], pair) == ["the hound over the lawn"]
    rng = np.random.default_rng(0)
    captions = {sample_caption(rng, ["dog"], "grass") for _ in range(20000)}
    assert prompts(FORMS["plain"], pair)[0] in captions
    for name in set(FORMS) - {"plain", "synonyms"}:
        assert prompts(FORMS[name], pair)[0] not in captions
