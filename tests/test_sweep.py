"""Names of a sweep's rows: by the values that are swept, the same in any order, apart and fit for a folder."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from fastvmt.results.folder import slug
from fastvmt.sweep import LONGEST, jobs_of, parsed, row_name, row_values, rows_of, swept_keys, swept_of, words_in
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
    job = ["seed=0", "window.l=1"]
    assert swept_of(["window.l"], {"params": {"+seed": "0,1", "window.l": "1,2"}}, job) == ["window.l", "seed"]
    assert swept_of([], {"params": None, "beside": ["row=a,b"]}, ["row=a"]) == ["row"]


GRID = [["window.l=3", "seed=1"], ["window.l=5", "seed=1"]]


@pytest.mark.parametrize(
    ("words", "beside", "jobs", "names"),
    [
        ([], [], [["window.l=3"], ["window.l=5"]], ["l=3", "l=5"]),
        (["seed=1"], ["row=a,b"], [*GRID, ["seed=1", "row=a"], ["seed=1", "row=b"]], ["l=3", "l=5", "row=a", "row=b"]),
        (["seed=1"], "row=a", [*GRID, ["seed=1", "row=a"]], ["l=3", "l=5", "row=a"]),
        # the grid's number with one value, and a word that counts no more
        (["window.l=5", "seed=2", "seed=1"], ["row=a"], [GRID[1], ["seed=1", "row=a"]], ["l=5", "row=a"]),
        # what is fixed for all, which is no name of a grid's row
        (["row=c"], ["row=a"], [["window.l=3", "row=c"], ["window.l=5", "row=c"], ["row=a"]], ["l=3", "l=5", "row=a"]),
        (["seed=1"], ["method=none", "row=a"], [*GRID, ["seed=1", "method=none"], ["seed=1", "row=a"]], None),
        # a further axis, through which all go
        (
            ["seed=1,2"],
            ["row=c"],
            [[f"window.l={l}", f"seed={s}"] for l in (3, 5) for s in (1, 2)] + [[f"seed={s}", "row=c"] for s in (1, 2)],
            ["seed=1,l=3", "seed=2,l=3", "seed=1,l=5", "seed=2,l=5", "row=c,seed=1", "row=c,seed=2"],
        ),
    ],
)
@pytest.mark.parametrize("batch", [None, 1, 2])
def test_jobs_beside_a_grid_have_what_is_fixed_and_nothing_of_the_grid(
    words: list[str], beside: list[str] | str, jobs: list[list[str]], names: list[str] | None, batch: int | None
) -> None:
    """The plugin runs the jobs that we foretell, in their order."""
    params = {"window.l": "3,5"}
    config = sweep_of(words, params, beside)
    assert jobs_of(config) == jobs
    whole = parsed([*words_in({"params": params}, "params"), *words])
    batches = GridSweeper(batch, params, beside).split_arguments(whole, batch)
    assert [job for each in batches for job in each] == jobs
    assert all(len(each) <= (batch or len(jobs)) for each in batches)
    assert names is None or rows_of(config) == names
    assert len(set(rows_of(config))) == len(jobs)


def sweep_of(words: list[str], params: dict[str, str], beside: list[str] | str) -> DictConfig:
    """The configuration of a sweep as a whole."""
    sweeper = {"_target_": "hydra_plugins.fastvmt_grid.GridSweeper", "params": params, "beside": beside}
    hydra = {"sweeper": sweeper, "overrides": {"task": words}}
    return OmegaConf.create({"hydra": hydra, "swept": swept_keys(words)})


def test_without_a_grid_of_its_own_what_the_command_line_sweeps_is_the_grid() -> None:
    config = sweep_of(["window.l=3,5", "seed=1"], {}, ["method=none"])
    assert jobs_of(config) == [*GRID, ["seed=1", "method=none"]]
    assert rows_of(config) == ["l=3", "l=5", "method=none"]


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
