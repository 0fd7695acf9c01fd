"""Copies of random models, to be changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fastvmt.backbones.pretrained import Pretrained
from fastvmt.backbones.wan import WanBackbone
from helpers.random_models import Changes


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
