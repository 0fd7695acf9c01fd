"""A named row stays what its name says: no word of the command line makes another one of it in silence."""

from __future__ import annotations

import pytest

from fastvmt.errors import UserError
from helpers.config import composed


@pytest.mark.parametrize("words", [["row=none", "method=moft"], ["method=none", "row=official"]])
def test_another_method_than_the_row_s_is_refused(words: list[str]) -> None:
    (method,) = (word for word in words if word.startswith("method="))
    with pytest.raises(UserError, match=f"{method}: row=.* is method=.*, and would be another row under its name"):
        composed(*words)


@pytest.mark.parametrize(
    "words",
    [
        ["row=none", "method=none"],
        ["row=sdedit_start", "method=sdedit", "sampler.steps=5"],
        ["row=shared_pass", "guidance.lr=0.02"],
        ["row=sdedit_start", "sampler.strength=1"],  # a number: the command line wins, as over every yaml file
        ["method=moft"],
    ],
)
def test_words_that_say_the_same_or_something_else_are_taken(words: list[str]) -> None:
    assert composed(*words)
