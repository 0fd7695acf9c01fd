"""A device without memory ends the run in one line that names the next preset."""

from __future__ import annotations

import pytest
import torch

from fastvmt.engine import run
from fastvmt.engine.out_of_memory import refusal
from fastvmt.engine.plan import make_plan
from fastvmt.errors import UserError
from helpers.config import composed


@pytest.mark.parametrize(
    ("memory", "mend"),
    [
        ("fast", "memory=balanced"),
        ("balanced", "memory=low"),
        ("low", "offload=true"),
        ("low backbone.offload=true", r"frames.* or backbone\.width"),
    ],
)
def test_the_next_preset_is_named(memory: str, mend: str) -> None:
    error = refusal(composed(*f"backbone.memory={memory}".split()).backbone)
    with pytest.raises(UserError, match=rf"^backbone\.memory={memory.split()[0]}: .*backbone\.{mend}$"):
        raise error


def test_a_run_ends_in_that_line() -> None:
    class Full:
        def test(self, *_: object, **__: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    plan = make_plan(composed("backbone.memory=balanced"))
    with pytest.raises(UserError, match=r"set backbone\.memory=low$"):
        run.transfer_all(Full(), object(), plan)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UserError, match=r"backbone\.memory=small .*fast, balanced, low"):
        make_plan(composed("backbone.memory=small"))
