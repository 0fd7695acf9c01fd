"""Names of a sweep's rows: by the values that are swept, the same in any order, apart and fit for a folder."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastvmt.results.folder import slug
from fastvmt.sweep import LONGEST, row_name, row_values, swept_keys, swept_of


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
    assert swept_of(["window.l"], {"+row": "a,b", "window.l": "1,2"}) == ["window.l", "row"]


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
