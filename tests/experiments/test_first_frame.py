"""The sheet of first frames, and a whole run on the random model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.probes.first_frame import COLUMNS, main, sheet


def test_a_case_is_a_block_of_its_methods() -> None:
    rows = [[np.full((2, 3, 3), 10 * method + case, np.uint8) for case in range(COLUMNS + 1)] for method in (1, 2)]
    image = sheet(rows)
    assert image.shape == (4 + 8 + 4, 3 * COLUMNS, 3)
    assert image[0, :, 0].tolist() == [10 + case for case in range(COLUMNS) for _ in range(3)]
    assert image[3, 0, 0] == 20 and image[12, 0, 0] == 10 + COLUMNS and (image[12:, 3:] == 255).all()


@pytest.mark.slow
def test_a_whole_run_on_the_random_model(random_wan: Path, tmp_path: Path) -> None:
    small = ["sampler.steps=2", "guidance.block=1", "guidance.iterations=2", "skip.delta=2", "guidance.fraction=0.5"]
    size = [f"backbone.path={random_wan}", "backbone.height=48", "backbone.width=48"]
    main(["--references", "2", "--results", str(tmp_path), *size, *small])
    record = json.loads((tmp_path / "first_frame.json").read_text())
    assert record["first_frame"]["none"]["n"] == record["fastvmt_minus_none"]["n"] == 4
    assert Image.open(tmp_path / "first_frame.png").size == (48 * COLUMNS, 96)
