"""Settings of the tuned methods: what is refused, what the yaml files make, and runs of the command line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fastvmt.backbones.layout import Layout
from fastvmt.backbones.wan import WanBackbone
from fastvmt.engine.plan import make_plan
from fastvmt.engine.run import run
from fastvmt.errors import UserError
from fastvmt.methods.tuned import Tuned
from helpers.methods import TUNED, composed, det, director, inversion_method, make

SHORT = Layout("short", 5, 48, 48, 30, 4, 8, 16, (1, 2, 2), 12)  # two latent frames


def test_settings_that_do_not_fit_the_model_are_refused(backbone: WanBackbone) -> None:
    with pytest.raises(ValueError, match=r"method\.blocks=\[2, 3\] does not exist: .* 0\.\.2\. Set method\.blocks"):
        inversion_method(blocks=[3, 2]).requirements(backbone.layout)
    with pytest.raises(
        ValueError,
        match=r"gives 2 latent frame.*det needs at least 3, set backbone\.frames=9",
    ):
        det().requirements(SHORT)
    for name in TUNED:
        make(name).requirements(backbone.layout)
    inversion_method(blocks=[29]).requirements(SHORT)
    director().requirements(SHORT)


@pytest.mark.parametrize(
    ("factory", "settings", "message"),
    [
        (inversion_method, {"blocks": []}, "method.blocks"),
        (inversion_method, {"blocks": [-1]}, "method.blocks"),
        (inversion_method, {"value": "some"}, "difference, none, whole"),
        (inversion_method, {"pool": 0}, "method.pool"),
        (director, {"rank": 0}, "method.rank"),
        (director, {"dropout": 1.0}, "method.dropout"),
        (director, {"skip_spatial": 1.5}, "method.skip_spatial"),
        (det, {"channels": 0}, "method.channels"),
        (det, {"initial": "zero"}, "normal, kaiming"),
        (det, {"tracking_weight": -1.0}, "method.tracking_weight"),
        (det, {"points": 0}, "method.points"),
        (det, {"tracking_sigma": 2.0}, "method.tracking_sigma"),
    ],
)
def test_settings_out_of_range_are_refused(factory, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        factory(**settings)


@pytest.mark.parametrize("name", TUNED)
def test_yaml_makes_the_method(name: str) -> None:
    plan = make_plan(composed(f"method={name}", "sampler.shift=2.5"))
    assert plan.method.name == name
    assert isinstance(plan.method, Tuned)
    assert plan.method.tuning.shift == 2.5
    for override in ("method.tuning.iterations=0", "method.tuning.lr=0", "+method.tuning.z=1", "+method.z=1"):
        with pytest.raises(UserError, match=override.split("=")[0].split(".")[-1]):
            make_plan(composed(f"method={name}", override))


def test_a_block_beyond_the_model_is_a_users_error() -> None:
    with pytest.raises(UserError, match=r"method\.blocks=\[2, 6\] does not exist"):
        make_plan(composed("method=motion_inversion", "method.blocks=[2,6]"))


@pytest.mark.slow
@pytest.mark.parametrize("name", TUNED)
def test_runs_from_the_command_line(random_wan: Path, tmp_path: Path, name: str) -> None:
    small = ["backbone.height=48", "backbone.width=48", "sampler.steps=2", "metrics=none", "logger=none"]
    small += ["method.blocks=[1]"] if name == "motion_inversion" else []
    run(
        composed(
            f"method={name}",
            f"backbone.path={random_wan}",
            *small,
            "guidance.block=1",
            "method.tuning.iterations=3",
            f"output_dir={tmp_path / 'out'}",
            f"cache_dir={tmp_path / 'cache'}",
        )
    )
    (trace,) = (tmp_path / "out").glob("cases/*/trace.csv")
    rows = list(csv.DictReader(trace.open()))
    assert [row["iteration"] for row in rows] == ["0", "1", "2"]
    assert {row["step"] for row in rows} == {"-1"}
