"""Names of a sweep's rows: by the values that are swept, the same in any order, apart and fit for a folder."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from fastvmt.results.folder import slug
from fastvmt.sweep import LONGEST, jobs_of, parsed, row_name, row_values, rows_of, swept_keys, swept_of, words_of
from hydra_plugins.fastvmt_grid import GridSweeper


def test_what_is_swept() -> None:
    words = [
        "-m",
        "window.l=3,5",
        "skip.delta=1",
        "method=none,fastvmt",
        "+guidance.lr=range(1,4)",
        "prompt=it's, here",
    ]
    assert swept_keys(words) == ["window.l", "method", "guidance.lr"]
    assert swept_keys(["window.tile=[2,2],[3,4]", "window.tile=[2,2]"]) == ["window.tile"]
    assert swept_keys(["window.l=3,5", "skip.delta=choice(1)"]) == ["window.l", "skip.delta"]  # a sweep that shrank
    assert swept_of(["window.l"], {"params": {"+seed": "0,1", "window.l": "1,2"}}) == ["window.l", "seed"]
    assert swept_of([], {"params": None, "beside": {"row": "a,b"}}) == ["row"]


GRID = [["window.l=3", "seed=1"], ["window.l=5", "seed=1"]]


@pytest.mark.parametrize(
    ("words", "beside", "jobs"),
    [
        (["seed=1"], {}, GRID),
        (["seed=1"], {"row": "a,b"}, [*GRID, ["seed=1", "row=a"], ["seed=1", "row=b"]]),
        (["window.l=5", "seed=1"], {"row": "a"}, [GRID[1], ["seed=1", "row=a"]]),  # the table's number, given one value
        (["seed=1,2"], {"row": "a"}, [[f"window.l={l}", f"seed={s}"] for l in (3, 5) for s in (1, 2)] + [["row=a"]]),
        (["seed=1", "row=c"], {"row": "a"}, [[*job, "row=c"] for job in GRID] + [["seed=1", "row=a"]]),
        (["seed=1"], {"method": "none", "row": "a"}, [*GRID, ["seed=1", "method=none"], ["seed=1", "row=a"]]),
    ],
)
@pytest.mark.parametrize("batch", [None, 1, 2])
def test_jobs_beside_a_grid_have_what_is_fixed_and_nothing_that_is_swept(
    words: list[str], beside: dict[str, str], jobs: list[list[str]], batch: int | None
) -> None:
    """The plugin runs the jobs that we foretell, in their order."""
    params = {"window.l": "3,5"}
    sweeper = {"_target_": "hydra_plugins.fastvmt_grid.GridSweeper", "params": params, "beside": beside}
    config = OmegaConf.create({"hydra": {"sweeper": sweeper, "overrides": {"task": words}}, "swept": swept_keys(words)})
    assert jobs_of(config) == jobs
    batches = GridSweeper(batch, params, beside).split_arguments(parsed([*words_of(params), *words]), batch)
    assert [job for each in batches for job in each] == jobs
    assert all(len(each) <= (batch or len(jobs)) for each in batches)
    assert len(set(rows_of(config))) == len(jobs)


def test_a_row_has_the_values_of_its_job_whatever_their_order() -> None:
    words = ["window.l=3", "skip.delta=1", "seed=5"]
    values = row_values(["window.l", "skip.delta"], words)
    assert values == row_values(["skip.delta", "window.l"], words[::-1]) == {"skip.delta": "1", "window.l": "3"}
    assert row_name(values) == "delta=1,l=3"
    assert row_name({"window.tile": "[2,2]"}) == "tile=[2,2]"
    assert row_name({"guidance.lr": "1", "method.lr": "2"}) == "guidance.lr=1,method.lr=2"
    assert row_name({}) == "default"


@settings(derandomize=True, deadline=None)
@given(st.lists(st.text(max_size=200), min_size=2, max_size=2, unique=True))
def test_names_are_apart_and_safe(values: list[str]) -> None:
    first, second = (row_name({"prompt": value}) for value in values)
    assert first != second
    for name in (first, second):
        assert 0 < len(name) <= LONGEST and not set(name) & set("/\\\0 :*?\n") and name not in (".", "..")


@pytest.mark.parametrize("value", ["../../x", "/etc", "a/b", ".."])
def test_no_name_leaves_its_folder(value: str) -> None:
    name = row_name({"backbone.path": value})
    assert "/" not in name and not name.startswith(".") and slug(name)
