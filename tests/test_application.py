"""How a job ends, as its folder tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastvmt.application import following
from fastvmt.errors import UserError
from fastvmt.results.events import FAILED, FINISHED, INTERRUPTED, STARTED, note, read_events
from fastvmt.studies.progress import progress_of
from helpers.config import composed
from helpers.studies import scored, write_run


@pytest.mark.parametrize(("limit", "made", "state"), [("1", 1, INTERRUPTED), ("1", 3, FINISHED), ("null", 1, FINISHED)])
def test_a_job_that_its_time_cuts_short_is_interrupted(tmp_path: Path, limit: str, made: int, state: str) -> None:
    limit = limit if limit == "null" else f"00:00:00:0{limit}"
    with following(composed(f"output_dir={tmp_path}", f"trainer.max_time={limit}")):
        note(tmp_path, STARTED, cases=3)
        write_run(tmp_path, [], scored({f"r{i}/p/s0": 0.5 for i in range(made)}))
    assert [event.kind for event in read_events(tmp_path)] == [STARTED, state]
    assert [row.state for row in progress_of(tmp_path)] == [state]


def test_an_error_is_a_failure_whatever_the_time(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError),
        following(composed(f"output_dir={tmp_path}", "trainer.max_time=00:00:00:01")),
    ):
        raise UserError("window.l=4")
    assert [event.kind for event in read_events(tmp_path)] == [FAILED]
