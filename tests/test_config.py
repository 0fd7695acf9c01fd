"""Every yaml of ``conf/`` composes to what it did before, and a stranger's beside them; presets follow, words win."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path

import pytest
import yaml
from hydra.utils import get_class
from omegaconf import OmegaConf

from fastvmt import compose
from fastvmt.config import config_folder
from fastvmt.engine.plan import make_plan
from fastvmt.engine.run import run
from fastvmt.errors import UserError
from fastvmt.settings import Guidance, Reduction, Sampler, Skip, Window
from helpers.config import composed

CONF = config_folder()
OPTIONS = sorted(
    (file.parent.name, file.stem)
    for file in CONF.glob("*/*.yaml")
    if file.parent.name not in ("hydra", "help", "preset")
)


def folder(group: str) -> list[str]:
    """The options of a group."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


METHODS = folder("method")
NUMBERS = {"window": Window, "skip": Skip, "guidance": Guidance, "sampler": Sampler}
GOLDEN = json.loads((Path(__file__).parent / "golden" / "compositions.json").read_text())
"""Compositions before the papers' numbers became the defaults, at commit ff0b001: overrides by short name, distinct
values by group, and of every ``backbone/method/overrides`` which of them it had."""
MENDED = {"tau": (4.0, 1.0), "tile": ([2, 2], [3, 4]), "centre_gradient": (True, False)}
"""Where the compositions were wrong: ``window=dense`` took these from tiny-wan to both of Wan, beside ``l``."""
GUIDED = {"smm": 0.4, "motionclone": 0.5}
"""And where two methods had FastVMT's guided share: their papers' own, off tiny-wan."""


LATER = (
    "reduction",
    "spatial_reduction",
    "source",
    "diagnostics",
    "predict",
    "negative_every",
    "batched_cfg",
    "cfg_scale_2",
    "name",
    "sigmas",
)
"""Keys that are newer than the file, or whose words are: the tests below hold them."""


def without(node: object, keys: Sequence[str]) -> object:
    """A composition without these keys, on every level."""
    if not isinstance(node, dict):
        return node
    return {key: without(value, keys) for key, value in node.items() if key not in keys}


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes(group: str, option: str) -> None:
    if (group, option) == ("experiment", "search"):
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason='needs pip install "fastvmt[search]"')
    cfg = composed(f"{group}={option}")
    if group in NUMBERS:
        assert isinstance(OmegaConf.to_object(cfg[group]), NUMBERS[group])
    elif group not in ("experiment", "row") and "_target_" in cfg[group]:
        parameters = inspect.signature(get_class(cfg[group]._target_)).parameters
        assert {key for key in cfg[group] if key != "_target_"} <= set(parameters)


def mended(window: dict[str, object]) -> dict[str, object]:
    """A window with the numbers of Wan; refused unless it had those of tiny-wan."""
    assert {key: window[key] for key in MENDED} == {key: old for key, (old, _) in MENDED.items()}
    return window | {key: new for key, (_, new) in MENDED.items()}


@pytest.mark.parametrize("start", sorted({name.rpartition("/")[0] for name in GOLDEN["rows"]}))
def test_compositions_are_those_of_before_but_for_what_was_wrong(start: str) -> None:
    backbone, method = start.split("/")
    for name, row in GOLDEN["rows"].items():
        if name.rpartition("/")[0] != start:
            continue
        words = name.rpartition("/")[2]
        expected = {group: GOLDEN["values"][group][i] for group, i in zip(GOLDEN["values"], row, strict=True)}
        if words == "dense" and backbone != "tiny_wan":
            expected["window"] = mended(expected["window"])
            if "window" in expected["method"]:
                expected["method"] = expected["method"] | {"window": mended(expected["method"]["window"])}
        if method in GUIDED and backbone != "tiny_wan":
            expected["method"] = expected["method"] | {"fraction": GUIDED[method]}
        cfg = composed(f"backbone={backbone}", f"method={method}", *GOLDEN["sets"][words])
        found = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
        found = {group: found[group] for group in (*NUMBERS, "method")} | {"clip": found["metrics"]["clip"]["model"]}
        found, expected = (json.dumps(without(each, LATER), sort_keys=True) for each in (found, expected))
        assert found == expected, name


@pytest.mark.parametrize("words", [["backbone=wan_1_3b"], ["backbone=wan_14b"], ["preset=none"]])
def test_without_a_preset_the_numbers_are_the_papers(words: list[str]) -> None:
    cfg = composed(*words)
    assert {group: OmegaConf.to_object(cfg[group]) for group in NUMBERS} == {g: kind() for g, kind in NUMBERS.items()}
    assert (cfg.window.l, cfg.window.sf, list(cfg.window.tile), cfg.skip.delta) == (21, 4, [3, 4], 3)
    assert (cfg.guidance.fraction, cfg.guidance.iterations, cfg.guidance.block) == (0.2, 10, 14)
    assert (cfg.guidance.lr, cfg.guidance.lr_end) == (0.003, 0.002)
    assert (cfg.guidance.amf_weight, cfg.guidance.window_weight, cfg.guidance.alpha) == (5.0, 1.0, 0.2)
    assert cfg.guidance.reduction is Reduction.sum
    assert (cfg.sampler.steps, cfg.sampler.shift, cfg.sampler.cfg_scale) == (50, 7.0, 5.8)
    assert cfg.metrics.clip.model is None


@pytest.mark.parametrize("backbone", ["tiny_wan", "wan_1_3b", "wan_14b"])
@pytest.mark.parametrize(("word", "key", "value"), [("window=dense", "window.l", 0), ("skip=off", "skip.delta", 1)])
def test_dense_and_off_change_one_number(backbone: str, word: str, key: str, value: int) -> None:
    words = [f"backbone={backbone}", "method=fastvmt"]
    changed, before = composed(*words, word), composed(*words)
    OmegaConf.update(before, key, value)
    assert OmegaConf.to_container(changed, resolve=True) == OmegaConf.to_container(before, resolve=True)


PRESET = OmegaConf.load(CONF / "preset" / "tiny_wan.yaml")


@pytest.mark.parametrize("group", [name for name in PRESET if name != "metrics"])
def test_words_win_over_the_preset(group: str) -> None:
    papers = OmegaConf.structured(NUMBERS[group])
    values = {key: getattr(papers[key], "name", papers[key]) for key in PRESET[group]}
    cfg = composed(*(f"{group}.{key}={value}" for key, value in values.items()))
    assert {key: cfg[group][key] for key in values} == {key: papers[key] for key in values}
    assert all(PRESET[group][key] != value for key, value in values.items()), "a preset says what differs"


@pytest.mark.parametrize("name", sorted(file.stem for file in (CONF / "method" / "preset").glob("*.yaml")))
def test_a_methods_preset_says_what_differs_from_the_paper(name: str) -> None:
    method = next(each for each in METHODS if name.startswith(f"{each}_"))
    papers = yaml.safe_load((CONF / "method" / f"{method}.yaml").read_text())
    preset = yaml.safe_load((CONF / "method" / "preset" / f"{name}.yaml").read_text())
    tuning = preset.pop("tuning", {})
    assert all(papers[key] != value for key, value in preset.items())
    assert all(papers["tuning"][key] != value for key, value in tuning.items())


def test_help_tells_the_papers_numbers() -> None:
    text = (CONF / "hydra" / "help" / "fastvmt.yaml").read_text()
    lines = re.findall(r"^ +([a-z]+\.[a-z0-9_]+) .*?\[(\[.*?\]|[^\[].*?)\] ", text, re.MULTILINE)
    told = {key: OmegaConf.create(f"value: {value}").value for key, value in lines}
    for group, kind in NUMBERS.items():
        for key, value in OmegaConf.to_container(OmegaConf.structured(kind), enum_to_str=True).items():
            assert told.pop(f"{group}.{key}") == value
    assert not told


def test_experiments_override_what_they_name() -> None:
    smoke, world, fast = (composed(f"experiment={name}") for name in ("smoke", "world", "fast"))
    assert (fast.guidance.source, fast.sampler.negative_every) == ("pass", 2)
    assert (smoke.sampler.steps, smoke.guidance.iterations, smoke.skip.delta) == (4, 2, 2)
    assert world.benchmark.cases == 24


@pytest.mark.parametrize("file", sorted((CONF / "experiment" / "preset").glob("*.yaml")), ids=lambda file: file.stem)
def test_an_experiments_preset_follows_it_and_its_backbone_and_words_win(file: Path) -> None:
    names = [
        (e, b) for e, b in product(*(folder(each) for each in ("experiment", "backbone"))) if f"{e}_{b}" == file.stem
    ]
    ((experiment, backbone),) = names
    own = yaml.safe_load(file.read_text())
    both, other = composed(f"experiment={experiment}", f"backbone={backbone}"), composed(f"backbone={backbone}")
    numbered = {group: numbers for group, numbers in own.items() if group not in ("hydra", "table")}
    for group, numbers in numbered.items():
        for key, value in numbers.items():
            assert both[group][key] == value != other[group][key]
            other_value = value - 1 if isinstance(value, int) else value / 2
            word = f"{group}.{key}={other_value}"
            assert composed(f"experiment={experiment}", f"backbone={backbone}", word)[group][key] == other_value


@pytest.mark.parametrize(
    ("overrides", "model"),
    [
        ([], "tiny-clip"),
        (["metrics=fast"], "tiny-clip"),
        (["backbone=wan_1_3b"], None),
        (["backbone=wan_14b"], None),
        (["metrics=vbench"], None),
        (["metrics.clip.model=ViT-B-32.pt"], "ViT-B-32.pt"),
        (["backbone=wan_1_3b", "metrics.clip.model=ViT-B-32.pt"], "ViT-B-32.pt"),
    ],
)
def test_the_clip_model_follows_the_backbone(overrides: list[str], model: str | None) -> None:
    cfg = composed(*overrides)
    assert cfg.metrics.clip.model == model and cfg.metrics.clip.architecture == "ViT-B-32-quickgelu"


FOO = """\
_target_: fastvmt.backbones.wan.WanBackbone
path: nowhere
name: foo
frames: 9
height: 48
width: 48
fps: 8
max_tokens: 16
dtype: float32
device: ${device}
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A folder of the user's own with ``backbone/foo.yaml``, as the word that adds it."""
    (tmp_path / "own" / "backbone").mkdir(parents=True)
    (tmp_path / "own" / "backbone" / "foo.yaml").write_text(FOO)
    return f"hydra.searchpath=[file://{tmp_path / 'own'}]"


def test_a_backbone_in_one_file_has_the_papers_numbers_with_every_method(own: str) -> None:
    for method in METHODS:
        foo = composed(own, "backbone=foo", f"method={method}")
        wan = composed("backbone=wan_1_3b", f"method={method}")
        assert foo.backbone.name == "foo"
        for group in (*NUMBERS, "method", "metrics"):
            assert foo[group] == wan[group], (method, group)


def test_a_backbone_in_one_file_runs(own: str, random_wan: Path, tmp_path: Path) -> None:
    small = ["guidance.block=1", "window.l=3", "sampler.steps=2", "guidance.fraction=0.5", "guidance.iterations=2"]
    where = [f"output_dir={tmp_path / 'out'}", "cache_dir=null", "logger=none", "metrics.clip.model=tiny-clip"]
    scores = run(
        composed(own, "backbone=foo", f"backbone.path={random_wan}", "window.sf=1", "skip.delta=1", *small, *where)
    )
    assert "text_similarity" in scores
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["config"]["guidance"]["head_reduce"] == "mean_qk" and record["config"]["sampler"]["shift"] == 7.0


def test_presets_of_ones_own_follow_the_backbone(own: str, tmp_path: Path) -> None:
    preset, methods = tmp_path / "own" / "preset", tmp_path / "own" / "method" / "preset"
    preset.mkdir()
    methods.mkdir(parents=True)
    (preset / "foo.yaml").write_text("# @package _global_\nwindow: {l: 7}\nguidance: {block: 3}\n")
    (methods / "moft_foo.yaml").write_text("lr: 0.5\n")
    cfg = composed(own, "backbone=foo", "method=moft", "guidance.block=4")
    assert (cfg.window.l, cfg.guidance.block, cfg.method.block, cfg.method.lr) == (7, 4, 4, 0.5)
    assert composed(own, "backbone=foo", "window=dense").window.l == 0
    assert composed(own, "preset=foo").window.l == 7 and composed(own).window.l == 5


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("window.z=1", "window.z"),
        ("guidance.lr=abc", "abc"),
        ("method=nosuch", "nosuch"),
        ("row/preset@_global_=nosuch", "fast_tiny_wan"),
        ("window=[", r"window=\["),
        ("window=null", "NoneType"),
    ],
)
def test_what_does_not_compose_is_one_line(word: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        composed(word)
    assert "\n" not in str(error.value)


def test_values_are_set_as_they_are_and_checked() -> None:
    cfg = compose.composed(["logger=none"], {"prompt": "a dog, 'on' grass = [1", "video": None, "window.l": 3})
    assert (cfg.prompt, cfg.video, cfg.window.l) == ("a dog, 'on' grass = [1", None, 3)
    for key in ("window.z", "nosuch"):
        with pytest.raises(UserError, match=key.split(".")[-1]):
            compose.composed([], {key: 3})


def test_the_base_row_of_a_table_is_a_word_of_the_command_line() -> None:
    assert composed("+table.base.row=fastvmt").table.base == {"row": "fastvmt"}
    assert composed("experiment=table_main", "table.base.row=none").table.base == {"row": "none"}


@cache
def shown_by(experiment: str) -> tuple[set[int], set[bytes]]:
    """The start noises and the references of an experiment."""
    cases = list(make_plan(composed(f"experiment={experiment}")).cases)
    return {case.seed for case in cases}, {case.reference.frames_THWC.numpy().tobytes() for case in cases}


@pytest.mark.parametrize("table", [name for name in folder("experiment") if name.startswith("table_")])
def test_settings_are_chosen_on_scenes_and_noises_that_the_table_does_not_show(table: str) -> None:
    for chosen, shown in zip(shown_by("tune"), shown_by(table), strict=True):
        assert chosen and shown and not chosen & shown
