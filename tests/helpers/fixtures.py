"""Tiny, randomly initialised but real pipelines, a case and a manifest for them, and what spares all tests time."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

import fastvmt.torchvision_ops  # noqa: F401  diffusers imports torchvision
from experiments.random_folder import save_random_wan
from helpers.clips import clip, write_frames
from helpers.compositions import compose_faster
from helpers.random_models import SMALL, save_random_cogvideox

# isort: split
from diffusers import WanPipeline

from fastvmt.backbones.cogvideox import CogVideoXBackbone
from fastvmt.backbones.wan import WanBackbone
from fastvmt.data.frame_folder import clip_sha256
from fastvmt.data.video import write_video
from fastvmt.engine import adopt, case_files, motion_plot
from fastvmt.types import PassCounter, TransferCase, Video
from fastvmt.world.scene import render, sample_scene

torch.set_num_threads(1)
cv2.setNumThreads(1)  # its threads would be lost in the processes that tests fork, which would wait for them for ever
compose_faster()
for module in (case_files, adopt):
    module.VIEW_SIDE = 96  # a case's enlarged videos cost more than its model, whose clips have 48 pixels
motion_plot.DPI = 30  # and so do its pictures


@pytest.fixture(scope="session")
def random_wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in diffusers' layout: 3 blocks of 2 heads, random weights from a fixed seed."""
    return save_random_wan(tmp_path_factory.mktemp("random_wan"))


@pytest.fixture(scope="session")
def pipeline(random_wan: Path) -> WanPipeline:
    """diffusers' own pipeline on the same weights, loaded apart from the backbone's."""
    stock = WanPipeline.from_pretrained(random_wan, dtype=torch.float32, local_files_only=True)
    stock.set_progress_bar_config(disable=True)
    return stock


@pytest.fixture(scope="session")
def random_cogvideox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``random_wan``, of CogVideoX-5B's architecture."""
    return save_random_cogvideox(tmp_path_factory.mktemp("random_cogvideox"))


@pytest.fixture(scope="session")
def random_cogvideox_2b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``random_wan``, of CogVideoX-2B's architecture: without a rotary embedding."""
    return save_random_cogvideox(tmp_path_factory.mktemp("random_cogvideox_2b"), rotary=False)


@pytest.fixture(scope="session")
def loaded_backbone(random_wan: Path) -> WanBackbone:
    return WanBackbone(str(random_wan), name="random_wan", **SMALL)


@pytest.fixture(scope="session")
def loaded_cogvideox(random_cogvideox: Path) -> CogVideoXBackbone:
    return CogVideoXBackbone(str(random_cogvideox), name="random_cogvideox", **SMALL)


@pytest.fixture(scope="session")
def loaded_cogvideox_2b(random_cogvideox_2b: Path) -> CogVideoXBackbone:
    return CogVideoXBackbone(str(random_cogvideox_2b), name="random_cogvideox_2b", **SMALL)


@pytest.fixture
def cogvideox(loaded_cogvideox: CogVideoXBackbone) -> CogVideoXBackbone:
    """``random_cogvideox`` for the same clips, on the same grid."""
    loaded_cogvideox.passes = PassCounter()
    return loaded_cogvideox


@pytest.fixture
def cogvideox_2b(loaded_cogvideox_2b: CogVideoXBackbone) -> CogVideoXBackbone:
    """``random_cogvideox_2b`` for the same clips, on the same grid."""
    loaded_cogvideox_2b.passes = PassCounter()
    return loaded_cogvideox_2b


@pytest.fixture
def backbone(loaded_backbone: WanBackbone) -> WanBackbone:
    """``random_wan`` for clips of 9 frames of 48 x 48 pixels: a grid of 5 x 6 x 6 tokens."""
    loaded_backbone.passes = PassCounter()
    return loaded_backbone


@pytest.fixture(scope="session")
def case() -> TransferCase:
    clip = render(sample_scene(np.random.default_rng(4), 9, "single_object"), 48)
    return TransferCase("case", Video(torch.from_numpy(clip.frames_THWC), 8.0), "a dog on grass", seed=3)


@pytest.fixture
def bench(tmp_path: Path):
    """A function that writes a manifest of two clips, changed by its arguments, and returns its path."""
    write_video(tmp_path / "clips" / "swan.mp4", clip(20))
    write_frames(tmp_path / "clips" / "dog", clip(12))

    def write(swan: dict | None = None, dog: dict | None = None, **defaults) -> Path:
        rows = [
            {
                "id": "swan",
                "video": "clips/swan.mp4",
                "sha256": clip_sha256(tmp_path / "clips" / "swan.mp4"),
                "fps": 8.0,
                "size": [48, 64],
                "category": "camera",
                "source_prompt": "a swan",
                "split": "dev",
                "prompts": [
                    {"id": "same", "kind": "caption", "text": "a bird"},
                    {"id": "cat", "kind": "subject", "text": "a cat", "negative": "dog"},
                ],
            },
            {
                "id": "dog",
                "video": "clips/dog",
                "sha256": clip_sha256(tmp_path / "clips" / "dog"),
                "fps": 24,
                "size": [48, 64],
                "category": "articulated",
                "prompts": [{"id": "fox", "text": "a fox"}],
            },
        ]
        for row, change in zip(rows, (swan or {}, dog or {}), strict=True):
            row.update(change)
        path = tmp_path / "bench.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows))
        header = {"name": "bench", "version": 1, "license": "own", "defaults": {"seeds": [0, 3], **defaults}}
        path.with_suffix(".yaml").write_text(yaml.safe_dump(header))
        return path

    return write
