"""Configurations call classes of fastvmt, and of packages that the user trusts, and nothing else."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, ListConfig, OmegaConf

from fastvmt.construct import PLUGINS, check_arguments, construct, mistyped
from fastvmt.engine.plan import make_plan
from fastvmt.errors import UserError
from fastvmt.tuning.loop import Tuning
from helpers.config import composed

HOSTILE = [
    "os.system",
    "builtins.eval",
    "subprocess.Popen",
    "fastvmt",
    "fastvmtx.methods.Evil",
    ".fastvmt.types.Video",
    "fastvmt..types.Video",
    "fastvmt.types.os.system",
    "fastvmt.config.Path",
    "fastvmt.construct.import_module",
    "fastvmt.construct.os.system",
    "fastvmt.engine.plan.make_plan",
    "fastvmt.nosuch.Video",
    "fastvmt.types.Nosuch",
    "experiments.speed.Size",
    "this.Zen",
    "hydra.utils.get_method",
    "",
    None,
    3,
]
"""Names of functions, of other packages, of what fastvmt's modules import, and of nothing."""


@pytest.mark.parametrize("target", HOSTILE)
@pytest.mark.parametrize("group", ["backbone", "method", "tracker", "metrics", "benchmark"])
def test_no_group_names_anything_but_classes_of_fastvmt(group: str, target: object) -> None:
    cfg = composed()
    OmegaConf.update(cfg, f"{group}._target_", target, force_add=True)
    with pytest.raises(UserError, match=rf"{group}\._target_={target} "):
        construct(cfg[group], group)
    with pytest.raises(UserError, match=rf"{group}\._target_={target} "):
        make_plan(cfg)


INNER: dict[str, Any] = {"_target_": "this.Zen", "side": 1}
TRACKER = {"_target_": "fastvmt.trackers.dis.DisTracker"}


@pytest.mark.parametrize(
    ("node", "key"),
    [
        ({**TRACKER, "side": INNER}, "tracker.side"),
        ({**TRACKER, "side": [1, INNER]}, r"tracker.side\[1\]"),
        ({**TRACKER, "side": {"a": {"b": [[INNER]]}}}, r"tracker.side.a.b\[0\]\[0\]"),
        ({**TRACKER, "side": {"_target_": "fastvmt.trackers.dis.DisTracker", "side": INNER}}, "tracker.side.side"),
    ],
)
def test_nested_names_are_checked_before_any_is_imported(node: dict[str, Any], key: str) -> None:
    node = {"_target_": "fastvmt.nosuch.Tracker"} | {k: v for k, v in node.items() if k != "_target_"}
    sys.modules.pop("this", None)
    with pytest.raises(UserError, match=rf"{key}\._target_=this\.Zen is no class of fastvmt"):
        construct(OmegaConf.create(node), "tracker")
    assert "this" not in sys.modules


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_recursive_", "_convert_", "_execution_whitelist_"])
def test_hydras_own_keys_are_no_keys(key: str) -> None:
    with pytest.raises(UserError, match=f"tracker.{key} is not a key of tracker"):
        construct(OmegaConf.create({**TRACKER, key: True}), "tracker")


def test_a_name_behind_an_interpolation_is_checked() -> None:
    node = OmegaConf.create({"evil": "this.Zen", "tracker": {"_target_": "${evil}"}})
    with pytest.raises(UserError, match=r"tracker\._target_=this\.Zen"):
        construct(node.tracker, "tracker")
    node = OmegaConf.create({"evil": INNER, "tracker": {**TRACKER, "side": "${evil}"}})
    with pytest.raises(UserError, match=r"tracker\.side\._target_=this\.Zen"):
        construct(node.tracker, "tracker")


@pytest.fixture
def mylab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of somebody's own with a method."""
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "__init__.py").write_text("import os\n")
    (tmp_path / "mylab" / "methods.py").write_text(
        "from fastvmt.methods.base import Method\n\n\n"
        "class Mine(Method):\n    name = 'mine'\n\n    def __init__(self, weight: float) -> None:\n"
        "        self.weight = weight\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "conf" / "method").mkdir(parents=True)
    (tmp_path / "conf" / "method" / "mine.yaml").write_text("_target_: mylab.methods.Mine\nweight: 0.5\n")
    return tmp_path / "conf"


def test_a_package_that_the_user_trusts_adds_a_method(mylab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = composed(f"hydra.searchpath=[file://{mylab}]", "method=mine", "method.weight=2.0")
    with pytest.raises(UserError, match=rf"method\._target_=mylab\.methods\.Mine .* set {PLUGINS}=<package>"):
        make_plan(cfg)
    monkeypatch.setenv(PLUGINS, "other, mylab")
    method = make_plan(cfg).method
    assert (method.name, method.weight) == ("mine", 2.0)
    for target in ("mylab.os.system", "mylab.methods.Nosuch", "mylabs.methods.Mine", "mylab"):
        cfg.method._target_ = target
        with pytest.raises(UserError, match="no class of|cannot be imported"):
            make_plan(cfg)


class Later:
    """Of somebody's own package."""

    def __init__(self, side: int, other: OnlyForTypeCheckers | None = None) -> None:  # noqa: F821
        self.side = side


def test_annotations_for_type_checkers_do_not_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS, __name__.partition(".")[0])
    assert construct(DictConfig({"_target_": f"{__name__}.Later", "side": 3}), "tracker").side == 3
    with pytest.raises(UserError, match=r"tracker\.wide is not a key of tracker; it has other, side"):
        construct(DictConfig({"_target_": f"{__name__}.Later", "wide": 3}), "tracker")


def test_plain_types_are_checked_and_others_left_to_the_constructor() -> None:
    assert mistyped(True, int) == "int" and mistyped(1.5, int | None) == "int or null"
    for value, hint in ((1, float), (None, int | None), (ListConfig([1]), list[int]), ([1], object), ("x", "int")):
        assert mistyped(value, hint) is None
    for value in (math.inf, math.nan, True):
        assert (
            mistyped(value, float) == "a finite number" and mistyped(value, float | None) == "a finite number or null"
        )
    for other in ("x", 3, ListConfig([1.5]), ListConfig(["a"]), DictConfig({}), None):
        assert mistyped(other, list[int]) == "a list of int"
    assert mistyped(ListConfig([]), dict[str, int]) == "a map of keys to values"


def test_keys_inside_a_group_are_checked_as_its_own_are() -> None:
    cfg = composed("method=motion_director", "+method.tuning.z=1")
    with pytest.raises(UserError, match=r"method\.tuning\.z is not a key of method\.tuning; it has beta2, "):
        check_arguments(cfg.method, "method")
    cfg = composed("method=motion_director", "method.inversion.share=abc")
    with pytest.raises(UserError, match=r"method\.inversion\.share=abc is out of range: it must be a finite number"):
        check_arguments(cfg.method, "method")
    with pytest.raises(UserError, match=r"nosuch") as error:
        check_arguments(composed("method=motion_director", "method.rank=${nosuch}").method, "method")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["~backbone.name"], "backbone.name"),
        (["~backbone.path"], "backbone.path"),
        (["method=smm", "~method.block"], "method.block"),
        (["method=det", "~method.tuning.lr"], "method.tuning.lr"),
        (["~metrics.names"], "metrics.names"),
    ],
)
def test_a_key_that_was_taken_away_is_named(words: list[str], key: str) -> None:
    with pytest.raises(
        UserError, match=rf"^{re.escape(key)} is missing: give it in the yaml file, or add \+{re.escape(key)}="
    ):
        make_plan(composed(*words))


def test_what_is_constructed_holds_plain_values_and_settings() -> None:
    method = construct(composed("method=motion_director", "sampler.shift=2.0").method, "method")
    assert isinstance(method.tuning, Tuning) and method.tuning.shift == 2.0
    guided = construct(composed("method=fastvmt", "window.l=3").method, "method")
    assert guided.window == replace(make_plan(composed()).window, l=3) and type(guided.window.tile) is list
