"""Where results come from: the commit never without the sign of changes that it lacks."""

from __future__ import annotations

import pytest

from fastvmt.results.provenance import maker, provenance


@pytest.mark.parametrize(("changed", "sign"), [(True, "+"), (False, "")])
def test_results_and_records_tell_the_same_commit(changed: bool, sign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastvmt.results.provenance.commit", lambda: "c0ffee")
    monkeypatch.setattr("fastvmt.results.provenance.changed", lambda: changed)
    maker.cache_clear()
    try:
        assert provenance()["commit"] == maker()["commit"] == f"c0ffee{sign}"
    finally:
        maker.cache_clear()
