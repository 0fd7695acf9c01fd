"""Charts: points stand where their numbers say, intervals are those of the statistics."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pytest

from fastvmt.results.statistics import resampled_means
from fastvmt.studies.grid import grid_of, varying_keys
from fastvmt.studies.report.charts import (
    HEIGHT,
    WIDTH,
    Estimate,
    Point,
    estimate,
    heat_map,
    over_key,
    scatter,
    spread,
    trade_off,
)
from fastvmt.studies.report.curves import loss_curve
from fastvmt.studies.report.svg import axis_of
from fastvmt.studies.rows import read_rows
from fastvmt.studies.table import StudyTable, tabulated
from helpers.pages import TRACE
from helpers.studies import scored, write_run


def table_of(folder: Path, key_values: list[dict[str, str]], count: int = 8) -> StudyTable:
    """A study whose row i scores 0.1 i more."""
    rng = np.random.default_rng(0)
    base = rng.uniform(0.3, 0.5, count)
    for job, values in enumerate(key_values):
        records = scored({f"r{i}/p0/s0": float(value + 0.1 * job) for i, value in enumerate(base)})
        write_run(folder / "rows" / str(job), [], records, values, job)
    return tabulated(read_rows([folder]))


def elements(svg: str | None, kind: str) -> list[Element]:
    """The elements of a class."""
    return [each for each in ElementTree.fromstring(svg or "<svg/>").iter() if each.get("class") == kind]


def test_an_estimate_is_the_mean_with_its_resampled_interval() -> None:
    values = {f"r{i}/p0/s0": float(i) for i in range(8)}
    found = estimate(values)
    means = resampled_means([np.array([value]) for value in values.values()])
    assert means is not None
    assert (found.mean, found.low, found.high) == pytest.approx((3.5, *np.percentile(means, [2.5, 97.5])))
    few = estimate({"a": 1.0, "b": 3.0})
    assert few.mean == 2.0 and math.isnan(few.low) and few.known == [2.0]


def test_an_axis_shows_all_its_values_and_round_ticks() -> None:
    axis = axis_of([0.2, 0.9], 50.0, 400.0)
    assert axis.low < 0.2 < 0.9 < axis.high
    assert axis.at(axis.low) == 50.0 and axis.at(axis.high) == 400.0
    assert axis.ticks() == pytest.approx([0.15, 0.3, 0.45, 0.6, 0.75, 0.9])
    assert axis_of([3.0, 3.0], 0.0, 1.0).at(3.0) == pytest.approx(0.5)
    assert axis_of([0.0], 0.0, 1.0).at(0.0) == pytest.approx(0.5)


def test_a_point_stands_at_its_means_within_its_interval() -> None:
    points = [
        Point("near", Estimate(1.0, 0.9, 1.1), Estimate(0.5, 0.4, 0.6), True),
        Point("<far>", Estimate(2.0, math.nan, math.nan), Estimate(0.7, math.nan, math.nan), False),
    ]
    svg = scatter(points, ("x", "y"))
    near, far = elements(svg, "dot")
    assert float(near.get("cx", "")) < float(far.get("cx", "")) and float(near.get("cy", "")) > float(far.get("cy", ""))
    across, up = elements(svg, "bar")  # the second point has no interval
    assert float(across.get("x1", "")) < float(near.get("cx", "")) < float(across.get("x2", ""))
    assert float(up.get("y2", "")) < float(near.get("cy", "")) < float(up.get("y1", ""))
    assert len(elements(svg, "base")) == 1 and "&lt;far&gt;" in svg
    for dot in (near, far):
        assert 0 < float(dot.get("cx", "")) < WIDTH and 0 < float(dot.get("cy", "")) < HEIGHT


def test_words_do_not_cover_each_other() -> None:
    found = spread([100.0, 101.0, 50.0, 99.0])
    assert found[2] == 50.0 and found[1] == 101.0
    gaps = np.diff(sorted(found))
    assert gaps.min() >= 13


def test_a_number_gives_a_line_and_a_word_gives_none(tmp_path: Path) -> None:
    numbers = table_of(tmp_path / "numbers", [{"skip.delta": value} for value in ("10", "2", "1")])
    assert varying_keys(numbers) == ["skip.delta"]
    svg = over_key(numbers, "skip.delta", "motion_fidelity")
    places = [float(dot.get("cx", "")) for dot in elements(svg, "dot")]
    assert places == sorted(places) and len(places) == 3
    assert (places[2] - places[1]) / (places[1] - places[0]) == pytest.approx(8, rel=0.01)  # 1, 2, 10
    heights = [float(dot.get("cy", "")) for dot in elements(svg, "dot")]
    assert heights == sorted(heights)  # downwards: the score falls
    assert len(elements(svg, "bar")) == 3
    numbers = table_of(tmp_path / "numbers", [*({"skip.delta": value} for value in ("10", "2", "1")), {"row": "none"}])
    svg = over_key(numbers, "skip.delta", "motion_fidelity")
    assert len(elements(svg, "dot")) == 3 and len(elements(svg, "beside")) == 1 and "none" in svg
    words = table_of(tmp_path / "words", [{"method": value} for value in ("moft", "none")])
    assert over_key(words, "method", "motion_fidelity") is None
    assert trade_off(words) is not None


def test_one_row_has_no_trade_off(tmp_path: Path) -> None:
    assert trade_off(table_of(tmp_path, [{"skip.delta": "1"}])) is None


def test_a_map_is_fuller_where_the_mean_is_higher(tmp_path: Path) -> None:
    keys = [{"skip.delta": delta, "window.l": l} for delta in "12" for l in "35"][:3]
    table = table_of(tmp_path, keys)
    svg = heat_map(grid_of(table, ["skip.delta", "window.l"], "motion_fidelity"))
    shades = [float(tile.get("fill-opacity", "")) for tile in elements(svg, "heat")]
    assert shades == [0.05, pytest.approx(0.275, abs=0.006), 0.5]  # the fourth cell was not run
    alike = table_of(tmp_path / "alike", [keys[0]])
    assert len(elements(heat_map(grid_of(alike, ["skip.delta", "window.l"], "motion_fidelity")), "heat")) == 1


def test_the_inner_loss_is_a_line_per_step(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text(TRACE)
    lines = elements(loss_curve(tmp_path / "trace.csv"), "line")
    heights = [float(pair.split(",")[1]) for line in lines for pair in (line.get("points") or "").split()]
    assert len(lines) == 2 and len(heights) == 4
    assert np.diff(heights) == pytest.approx([10.0, 10.0, 10.0], abs=0.11)  # halved from point to point
    (tmp_path / "trace.csv").write_text("step,loss\n0,nan\n0,\n0,1.0\n")
    assert loss_curve(tmp_path / "trace.csv") is None
    (tmp_path / "trace.csv").write_text("")
    assert loss_curve(tmp_path / "trace.csv") is None
