"""What a composed configuration is checked for before weights load."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastvmt.engine.plan import make_plan
from fastvmt.errors import UserError
from helpers.config import composed

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["window.l=4"], "window.l=4"),
        (["objective=3"], "objective=3 is out of range: it must be a score's column, or a list of them"),
        (["objective=[]"], "objective="),
        (["seeds=[]"], "seeds="),
        (["seeds=[1,1]"], "seeds="),
        (["seeds=[1,-1]"], "seeds=-1 is out of range"),
        (["seeds=[1]", "seed=2"], "seed=2 is out of range: it must be 0, the default, where seeds= lists them"),
        (["+table.foo=1"], "table.foo"),
        (["+table.parts.a=b"], "table.parts.a=b is out of range: it must be a list of words"),
        (["+table.parts.a=[b]", "+table.parts.c=[1]"], "table.parts.c=[1] is out of range"),
        (["+table.parts.a=null"], "table.parts.a=None is out of range"),
        (["table.score=true"], "table.score=True is out of range: it must be .*motion_fidelity"),
        (["table.columns=[motion_fidelity,swiftness]"], "table.columns=swiftness is out of range: .*loop_seconds"),
        (["objective=[motion_fidelity,swiftness]"], "objective=swiftness is out of range: .*loop_ratio"),
        (["sampler.cfg_scale_2=3"], "sampler.cfg_scale_2=3.0 is out of range: it must be null: tiny-wan has one"),
        (["benchmark=single"], "benchmark=single is one clip of your own"),
        (["window.sf=5"], "window.sf"),
        (["guidance.block=6"], "guidance.block=6"),
        (["skip.delta=9"], "skip.delta=9"),
        (["window.tile=[13,1]"], "window.tile"),
        (["backbone.frames=10"], "nearest legal value is backbone.frames=9"),
        (["backbone.height=90"], "multiple of 8"),
        (["+window.z=1"], "window.z"),
        (["+method.z=1"], "method.z"),
        (["sampler.strength=0"], "sampler.strength"),
        (["+logger.z=1"], "logger.z"),
        (["backbone.dtype=float8"], "backbone.dtype=float8 is out of range"),
        (
            ["backbone.offload=true"],
            "backbone.offload=True is out of range: it must be false with backbone.memory",
        ),
        (["backbone.offload=true", "backbone.memory=low", "backbone.compile=regional"], "false with backbone.compile"),
        (["backbone.offload=maybe"], "backbone.offload=maybe"),
        (["device=gpu"], "device=gpu is out of range: .* for all parts with device="),
        (["benchmark=world", "benchmark.seed=-1"], "benchmark.seed=-1"),
        ([f"video={ROOT / 'README.md'}", "prompt=x", "frame_policy=round_down"], "must be error or pad_last"),
        (["method=sdedit"], "sampler.strength=1.0 is out of range: it must be below 1 for method=sdedit"),
        (["video=nothing.mp4", "prompt=x"], "nothing.mp4"),
        (["metrics.frames=10"], "metrics.frames=10 is out of range: it must be null for all frames, or in [2, 9]"),
        (["prompt=x"], "prompt= needs video=<file>"),
        (["reference_prompt=x"], "reference_prompt= needs video=<file>"),
        (["backbone.path=nowhere"], "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"),
        (["backbone=wan_1_3b"], "model_index.json"),
        (["benchmark.cases=0"], "benchmark.cases=0"),
        (["benchmark.categories=[fast]"], "fast"),
    ],
)
def test_what_the_user_can_mend_is_one_error(overrides, message):
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        make_plan(composed(*overrides))


@pytest.mark.parametrize(
    "bad",
    [
        "window.l=abc",
        "window.q=3",
        "skip.delta=1.5",
        "guidance.head_reduce=max",
        "nokey=1",
        "logger.mode=x",
        "trainer.accelerator=x",
    ],
)
def test_wrong_types_and_keys_fail_at_composition(bad):
    with pytest.raises(Exception, match=bad.split("=")[0].split(".")[-1]):
        composed(bad)
