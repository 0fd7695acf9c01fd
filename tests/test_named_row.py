"""A named row stays what its name says: no word of the command line makes another one of it in silence."""

from __future__ import annotations

import pytest

from fastvmt.errors import UserError
from helpers.config import composed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["row=none", "method=moft"], "method=moft: row=none has method=none, and would be another row"),
        (["row=shared_pass", "guidance.source=reading"], "guidance.source=reading: row=shared_pass has"),
        (["row=sdedit_start", "sampler.strength=1"], "sampler.strength=1: row=sdedit_start has"),
        (
            ["row=without_window", "++window.l=5"],
            r"\\+\\+window.l=5: row=without_window has window.l=0".replace("\\\\", "\\"),
        ),
    ],
)
def test_a_word_that_makes_another_row_is_refused(words: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        composed(*words)


@pytest.mark.parametrize(
    "words",
    [
        ["row=none", "method=none"],
        ["row=sdedit_start", "sampler.strength=0.75", "sampler.steps=5"],
        ["row=shared_pass", "guidance.lr=0.02"],  # of the model's preset, as for every row
        ["method=moft"],
    ],
)
def test_words_that_say_the_same_or_something_else_are_taken(words: list[str]) -> None:
    assert composed(*words)
