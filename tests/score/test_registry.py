"""Every score says what it is in one entry; configuration, tables, documentation and README agree with it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fastvmt.config import config_folder
from fastvmt.construct import PLUGINS
from fastvmt.results.columns import cost_summaries
from fastvmt.results.doubts import DOUBTS
from fastvmt.results.tables import COVERAGE, MOTION, score_table
from fastvmt.score.command import main
from fastvmt.score.metric import ScoreMetric
from fastvmt.score.networks import CLIP_KEYS, Networks
from fastvmt.score.registry import DIRECTIONS, INPUTS, REGISTRY, entries, score, table, weight_sources
from fastvmt.score.scores import Scores
from fastvmt.score.weights import MissingWeightsError
from fastvmt.studies.published import TABLES
from fastvmt.studies.quantities import KNOWN
from fastvmt.studies.table import PARTED
from fastvmt.studies.table_command import SHORT
from helpers.config import composed
from helpers.records import case_record
from helpers.stand_ins import METRICS, Drift

ROOT = Path(__file__).parents[2]
PRESETS = sorted(path.stem for path in (Path(str(config_folder())) / "metrics").glob("*.yaml"))


def preset(name: str) -> dict:
    return OmegaConf.to_container(OmegaConf.load(Path(str(config_folder())) / "metrics" / f"{name}.yaml"))


def test_every_entry_is_complete() -> None:
    assert {"motion_fidelity", "trajectory", "text_similarity", "temporal_flickering"} < set(entries())
    columns = [column for each in entries().values() for column in each.columns]
    assert len(columns) == len(set(columns))
    for name, entry in entries().items():
        assert entry.name == name and entry.definition and entry.source and entry.limits and entry.version >= 1
        assert "\n" not in entry.definition and re.search(r"\d", entry.range)
        assert entry.direction in DIRECTIONS
        assert set(entry.needs) <= set(INPUTS)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_what_its_entry_says(name: str) -> None:
    metric = METRICS[name]()
    assert metric.columns == entries()[name].columns
    assert metric.higher_is_better == {"higher": True, "lower": False, "none": None}[entries()[name].direction]


def test_a_score_is_one_decorator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registered, it can be asked for, has provenance and a row in the table."""

    class Constant(ScoreMetric):
        columns = ("constant",)

        def measure(self, sample) -> dict[str, float]:
            return {"constant": 0.5}

    monkeypatch.setattr("fastvmt.score.registry.REGISTRY", dict(REGISTRY))
    entries.cache_clear()
    facts = {"definition": "one half", "source": "own definition", "range": "0.5", "limits": "always"}

    @score("constant", **facts, version=3)
    def constant(networks: Networks) -> Constant:
        return Constant()

    with pytest.raises(ValueError, match="two scores are called 'constant'"):
        score("constant", **facts)(constant)
    scores = Scores(Drift(), ["constant"], {})
    assert scores.versions == {"constant": 3} and scores.provenance()["scores"]["constant"]["range"] == "0.5"
    assert "| `constant` | one half | 0.5, higher is better | - | always | own definition |" in table()
    entries.cache_clear()


OWN = """
from fastvmt.score.metric import VideoMetric
from fastvmt.score.registry import score
from fastvmt.score.weights import WeightSource

FILE = WeightSource(
    name="half",
    what="one half",
    file="half.pt",
    origin="here",
    licence="MIT",
    size="1 KB",
    override="metrics.weights.half",
)

class Half(VideoMetric):
    columns = ("half",)

    def value(self, video):
        return 0.5

@score("half", definition="one half", source="own definition", range="0.5", limits="always", weights=(FILE,))
def half(networks):
    networks.file(FILE)
    return Half()
"""


def test_a_package_that_the_user_trusts_adds_a_score_and_its_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "halves").mkdir()
    (tmp_path / "halves" / "__init__.py").touch()
    (tmp_path / "halves" / "scores.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("fastvmt.score.registry.REGISTRY", dict(REGISTRY))
    for trusted, known in (("", False), ("missing, halves", True)):
        monkeypatch.setenv(PLUGINS, trusted)
        entries.cache_clear()
        assert ("half" in entries()) is ("half" in weight_sources()) is known
    with pytest.raises(MissingWeightsError, match=r"half\.pt is not set.* and set metrics\.weights\.half=<path>"):
        Scores(Drift(), ["half"], {}, {"half": None})
    (tmp_path / "half.pt").touch()
    assert list(Scores(Drift(), ["half"], {}, {"half": str(tmp_path / "half.pt")}).metrics) == ["half"]
    entries.cache_clear()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_scores_and_weights_that_exist(name: str) -> None:
    config = preset(name)
    assert set(config["names"]) <= set(entries()) and set(config.get("also", ())) <= set(entries())
    assert set(config.get("clip", {})) <= {*CLIP_KEYS, "defaults"}
    if name == "default":
        overrides = {"metrics.clip.model", *(f"metrics.weights.{key}" for key in config["weights"])}
        assert {source.override for source in weight_sources().values()} == overrides


def test_tables_of_results_have_the_headline_and_pool_what_vbench_pools() -> None:
    scores = Scores(Drift(), preset("default")["names"], {}, on_missing="skip", vbench_compat=True)
    assert scores.headline == {
        "motion_fidelity": "motion",
        "trajectory_cosine": "trajectory",
        "text_similarity": "text",
        "temporal_consistency": "temporal",
    }
    assert scores.pooled == ("background_consistency",)
    assert {each.columns[0] for each in entries().values() if each.pooled} == {
        "subject_consistency",
        "background_consistency",
    }
    assert Scores(Drift(), ["subject_consistency"], {}, on_missing="skip").pooled == ()


def test_scores_that_are_named_elsewhere_are_columns_of_an_entry() -> None:
    columns = {column for entry in entries().values() for column in entry.columns}
    costs = {*KNOWN, *cost_summaries([])}
    cfg = composed()
    doubted = {name for doubt in DOUBTS for name in (doubt.read, *doubt.columns)}
    published = {name for table in TABLES.values() for row in table.rows.values() for name in row}
    assert {*SHORT, *published} - costs <= columns
    assert {MOTION, *COVERAGE, *PARTED, *doubted, cfg.table.score, cfg.objective} <= columns


def test_a_table_of_cases_says_where_higher_is_not_better(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [case_record("a", scores={"epe": 3.0, "motion_fidelity": 0.5})]
    for name in ("epe", "speed"):
        monkeypatch.setitem(entries(), name, replace(entries()["epe"], head=name, columns=(name,)))
    monkeypatch.setitem(entries(), "speed", replace(entries()["speed"], direction="none"))
    table = score_table(records, Scores(Drift(), ["motion_fidelity", "epe", "speed"], {}).headline)
    heads = [str(column.header) for column in table.columns[1:-1]]
    assert heads == ["motion", "epe (lower is better)", "speed (neither is better)"]
    assert table.title == "scores (higher is better, unless a head says otherwise) and seconds"


def test_the_documentation_has_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--list"])
    assert stopped.value.code == 0
    page = (ROOT / "docs" / "scores.md").read_text(encoding="utf-8")
    written = page.split("<!-- python -m fastvmt.score --list -->\n")[1].split("<!-- end -->")[0]
    assert written.strip() == capsys.readouterr().out.strip() == table().strip()
