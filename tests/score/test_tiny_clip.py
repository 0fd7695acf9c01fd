"""The shipped tiny-clip: it loads through open_clip, offline, and recognises what is in a frame."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import fastvmt.torchvision_ops  # noqa: F401  open_clip imports torchvision

# isort: split
import open_clip
from omegaconf import OmegaConf
from open_clip.tokenizer import HFTokenizer
from torchvision.transforms import Compose

from experiments.tiny_wan.clips import HELD_OUT
from experiments.tiny_wan.pairs import FILLERS, content, rendered_pool, texts_of, truth
from fastvmt.world.scene import Scene, render, sample_scene
from fastvmt.world.vocabulary import BACKGROUNDS, OBJECTS, named, unknown_words

FOLDER = Path(__file__).parents[2] / "fastvmt" / "models" / "tiny-clip"
SEED = (HELD_OUT, 2_026)
"""Training draws its scenes from seeds that begin with TRAIN, the report from (HELD_OUT, 0)."""
END = 1
"""The tokenizer's end token."""


def no_network(*_: object) -> None:
    raise AssertionError("loading tiny-clip reached for the network")


@pytest.fixture(scope="module")
def offline() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", no_network)
        yield


@pytest.fixture(scope="module")
def judge(offline: None) -> tuple[torch.nn.Module, Compose]:
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{FOLDER}")
    return model.eval(), preprocess


@pytest.fixture(scope="module")
def tokenizer(offline: None) -> HFTokenizer:
    return open_clip.get_tokenizer(f"local-dir:{FOLDER}")


@pytest.fixture(scope="module")
def frames() -> tuple[list[Scene], list[np.ndarray]]:
    """Two hundred frames with one object, one of each scene at a random time."""
    scenes, images = [], []
    for i in range(280):
        rng = np.random.default_rng([*SEED, i])
        scene = sample_scene(rng, 3)
        if len(scene.objects) == 1 and len(scenes) < 200:
            scenes.append(scene)
            images.append(render(scene, 96).frames_THWC[rng.integers(3)])
    assert len(scenes) == 200
    return scenes, images


@torch.no_grad()
def embed_text(judge: tuple[torch.nn.Module, Compose], tokens: Tensor) -> Tensor:
    return judge[0].encode_text(tokens, normalize=True)


@torch.no_grad()
def embed_images(judge: tuple[torch.nn.Module, Compose], images: list[np.ndarray]) -> Tensor:
    model, preprocess = judge
    batch = torch.stack([preprocess(Image.fromarray(image)) for image in images])
    return torch.cat([model.encode_image(x, normalize=True) for x in batch.split(50)])


@pytest.fixture(scope="module")
def features(judge, frames) -> Tensor:
    return embed_images(judge, frames[1])


def test_objects_are_recognised(judge, tokenizer, frames, features) -> None:
    texts = embed_text(judge, tokenizer([f"a {name}" for name in OBJECTS]))
    best = (features @ texts.T).argmax(1).tolist()
    right = [list(OBJECTS)[b] == scene.objects[0] for b, scene in zip(best, frames[0], strict=True)]
    assert np.mean(right) >= 0.95


def test_backgrounds_are_recognised(judge, tokenizer, frames, features) -> None:
    texts = embed_text(judge, tokenizer([f"on {name}" for name in BACKGROUNDS]))
    best = (features @ texts.T).argmax(1).tolist()
    right = [list(BACKGROUNDS)[b] == scene.background for b, scene in zip(best, frames[0], strict=True)]
    assert np.mean(right) >= 0.95


def test_the_score_falls_when_the_object_is_a_blob_and_little_when_the_frame_is_soft(judge, tokenizer, frames) -> None:
    texts = embed_text(judge, tokenizer([scene.caption for scene in frames[0][:40]]))
    clips = [render(scene, 96) for scene in frames[0][:40]]
    whole = [clip.frames_THWC[0] for clip in clips]
    soft = [cv2.GaussianBlur(image, (0, 0), 1.0) for image in whole]
    blobs = []
    for clip, image in zip(clips, whole, strict=True):  # a disc of the object's mean colour
        mask = clip.masks_KTHW[0, 0]
        blob, (x, y) = image.copy(), clip.centres_KT2[0, 0].round().astype(int).tolist()
        blobs.append(cv2.circle(blob, (x, y), 26, image[mask].mean(0).tolist(), -1))
    clean, soft, blob = ((embed_images(judge, images) * texts).sum(1) for images in (whole, soft, blobs))
    assert (clean > blob).float().mean() >= 0.9
    assert clean.mean() - blob.mean() > 3 * (clean.mean() - soft.mean()).abs()


def test_embeddings_have_unit_norm_and_full_precision(judge, tokenizer, features) -> None:
    text = embed_text(judge, tokenizer(["a dog on grass"]))
    for x in (features, text):
        assert x.dtype == torch.float32
        torch.testing.assert_close(x.norm(dim=-1), torch.ones(len(x)))


def test_the_text_is_read_up_to_its_end_token(judge, tokenizer) -> None:
    tokens = tokenizer(["a dog on grass", "a dog on sand"])
    assert (tokens == END).sum(1).tolist() == [1, 1]
    one, other = embed_text(judge, tokens)
    assert one @ other < 0.9  # the last word counts
    end = (tokens[0] == END).int().argmax()
    padded = tokens[:1].clone()
    padded[:, end + 1 :] = tokenizer(["frog"])[0, 0]  # what follows the end token does not
    torch.testing.assert_close(embed_text(judge, padded)[0], one)
    cut = tokens[:1].clone()
    cut[:, end] = cut[:, end - 1]  # without the end token the feature is another
    assert not torch.allclose(embed_text(judge, cut)[0], one, atol=1e-3)


def test_long_texts_keep_their_end_token(tokenizer) -> None:
    tokens = tokenizer(["a dog " * 40])
    config = json.loads((FOLDER / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    assert tokens.shape == (1, config["context_length"])
    assert (tokens == END).sum() == 1


def test_synonyms_and_unknown_words_change_little(judge, tokenizer) -> None:
    texts = ["a dog on grass", "the puppy over the meadow", "a fluffy dog running on grass", "a fish on sea"]
    same, synonym, unknown, other = embed_text(judge, tokenizer(texts))
    assert min(same @ synonym, same @ unknown) > 0.8 > same @ other


def test_the_weights_file_is_small() -> None:
    assert (FOLDER / "open_clip_model.safetensors").stat().st_size <= 3_000_000


def test_training_texts_are_true_of_their_scene_and_false_without_its_objects() -> None:
    rng = np.random.default_rng(0)
    for i in range(50):
        scene = sample_scene(np.random.default_rng(i), 1)
        frames = torch.stack([content([*scene.objects, scene.background]), content([scene.background])])
        for text, names in texts_of(scene, rng, fillers=0.5):
            spoken = {*named(text, OBJECTS), *named(text, BACKGROUNDS)}
            assert spoken == set(names)
            has_object = bool(spoken & set(OBJECTS))
            assert truth(frames, content(names)[None])[:, 0].tolist() == [1.0, float(not has_object)]


def test_fillers_are_outside_the_vocabulary() -> None:
    assert unknown_words(" ".join(FILLERS)) == list(FILLERS)


def test_stages_keep_the_scene_and_take_the_objects() -> None:
    cfg = OmegaConf.create({"frames": 2, "size": 48, "seed": 3, "blobs": 0.1, "empty": 0.05})
    clean, blobs, empty = (rendered_pool(4, cfg, HELD_OUT, stage) for stage in ("clean", "blobs", "empty"))
    objects = len(OBJECTS)
    assert (clean.content_NK[:, :objects].sum(1) >= 1).all()
    for pool in (blobs, empty):
        assert pool.content_NK[:, :objects].sum() == 0
        assert torch.equal(pool.content_NK[:, objects:], clean.content_NK[:, objects:])
    for whole, spread, bare in zip(clean.frames_N3HW, blobs.frames_N3HW, empty.frames_N3HW, strict=True):
        far = (whole == bare).all(0)  # pixels that no object covers
        assert 0.5 < far.float().mean() < 1
        inside = [(x.float() - bare.float())[:, ~far].abs().mean() for x in (whole, spread)]
        assert 0 < inside[1] < inside[0]
