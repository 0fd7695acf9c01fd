"""A run that cannot fit the device is refused before weights load, with what would fit; sizes of devices are given."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fastvmt.backbones.layout import AutoencoderShape, BlockShape, Layout, Weights
from fastvmt.cost.memory import GIB
from fastvmt.cost.peaks import Use
from fastvmt.engine.fit import check_fit, mend, most, predicted, use_of
from fastvmt.engine.plan import Plan, make_plan
from fastvmt.engine.plan_tables import memory_line
from fastvmt.engine.run import run
from fastvmt.errors import UserError
from fastvmt.settings import Memory
from helpers.config import composed

SHAPE = AutoencoderShape(4 * 37 * 96, 4 * 51 * 96, 256**2)
LAYOUT = Layout("wan", 81, 480, 832, 40, 4, 8, 16, (1, 2, 2), 40, block=BlockShape(5120, 13824, 512), autoencoder=SHAPE)
WEIGHTS = Weights(*(int(size * GIB) for size in (10.6, 0.5, 26.8, 26.4, 0.66)))
"""Of Wan 14B."""


@pytest.mark.parametrize(
    ("gib", "advice"),
    [
        (80, "set backbone.memory=balanced"),
        (72, "set backbone.memory=low"),
        (40, "set backbone.memory=low backbone.offload=true"),
        (12, r"no preset fits: set backbone.memory=low backbone.offload=true backbone.frames=\d+"),
        (4, "no preset fits: lower backbone.height and backbone.width"),
    ],
)
def test_what_would_fit_is_named(gib: int, advice: str) -> None:
    use = Use(Memory.fast, False, 2, 14)
    told = mend(LAYOUT, WEIGHTS, use, int(gib * GIB))
    assert re.match(advice, told), told
    if frames := re.search(r"frames=(\d+)", told):
        lightest = replace(use, memory=Memory.low, offload=True)
        fitting, longer = (replace(LAYOUT, frames=int(frames[1]) + more) for more in (0, 4))
        assert most(fitting, WEIGHTS, lightest)[1] <= gib * GIB < most(longer, WEIGHTS, lightest)[1]


def test_offloading_alone_may_do() -> None:
    """Where resident weights fit with no preset."""
    use = Use(Memory.balanced, False, 2, 14)
    shorter = replace(LAYOUT, frames=41)
    assert mend(shorter, WEIGHTS, use, int(28 * GIB)) == "set backbone.offload=true"


@pytest.fixture(scope="module")
def plan_of(random_wan: Path) -> Callable[..., Plan]:
    def make(*changes: str) -> Plan:
        size = ["backbone.height=48", "backbone.width=48", "guidance.block=1", "window.l=3", "device=cpu"]
        return make_plan(composed(f"backbone.path={random_wan}", *size, *changes))

    return make


def test_a_run_that_cannot_fit_is_refused_in_one_line(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of()
    needed = max(predicted(plan).values())
    check_fit(plan, int(needed) + 1)
    with pytest.raises(UserError, match=r"^backbone\.memory=fast: tiny-wan needs .* GiB .*, cpu has .*; ") as caught:
        check_fit(plan, int(needed) - 1)
    assert "\n" not in str(caught.value)


def test_the_prediction_is_of_the_plan(plan_of: Callable[..., Plan]) -> None:
    """Methods without gradients have no guided stage; two latents in a pass count twice; tuning goes through all."""
    assert set(predicted(plan_of())) == {"text", "encode", "denoise", "decode", "guide"}
    assert "guide" not in predicted(plan_of("method=none"))
    assert use_of(plan_of()).blocks == 1
    assert use_of(plan_of("method=motion_director")).blocks == 3
    one, two = (predicted(plan_of(f"sampler.batched_cfg={value}"))["denoise"] for value in ("false", "true"))
    assert two > one


def test_the_dry_run_prints_it(random_wan: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    size = ["backbone.height=48", "backbone.width=48", "guidance.block=1", "window.l=3", f"output_dir={tmp_path}"]
    run(composed(f"backbone.path={random_wan}", *size, "dry=true", "device=cpu"))
    assert "memory, predicted" in capsys.readouterr().out
    assert memory_line({"text": 2.0 * GIB, "guide": 35.9 * GIB}) == "text 2.00, guide 35.90 GiB"
    assert memory_line({"text": 0.0, "encode": GIB / 1024, "guide": GIB / 16}) == "text 0, encode 1, guide 64 MiB"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (None, "config.json cannot be read: .*No such file"),
        ("[1]", "config.json holds no JSON object"),
        ('{"num_layers": "3"}', "config.json describes no UMT5EncoderModel: .*num_layers.*'3'"),
        ('{"a":' + "[" * 500 + "]" * 500 + "}", "config.json describes no UMT5EncoderModel: .*recursion"),
    ],
    ids=["missing", "a list", "a text for a number", "nested"],
)
def test_a_part_that_describes_no_model_is_one_line(
    written: str | None, told: str, random_wan: Path, tmp_path: Path
) -> None:
    shutil.copytree(random_wan, tmp_path / "wan")
    file = tmp_path / "wan" / "text_encoder" / "config.json"
    file.unlink()
    if written is not None:
        file.write_text(written)
    size = ["backbone.height=48", "backbone.width=48", "guidance.block=1", "window.l=3"]
    with pytest.raises(UserError, match=f"{tmp_path / 'wan'}.*{told}") as refused:
        check_fit(make_plan(composed(f"backbone.path={tmp_path / 'wan'}", *size)))
    assert "\n" not in str(refused.value)
