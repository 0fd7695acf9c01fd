"""A run over a manifest goes on case by case."""

from __future__ import annotations

import json

import pytest

from fastvmt.engine.plan import make_plan
from fastvmt.engine.run import run
from fastvmt.engine.session import Session
from fastvmt.engine.transfer import DivergedCase, Transfer
from fastvmt.errors import UserError
from fastvmt.types import TransferCase
from helpers.config import composed


def test_run_over_a_manifest_and_resume_by_case(bench, random_wan, tmp_path, capsys, monkeypatch):
    def job(*more: str):
        return composed(
            f"backbone.path={random_wan}",
            "backbone.height=48",
            "backbone.width=48",
            "guidance.block=1",
            "sampler.steps=2",
            "method=none",
            "metrics=none",
            "logger=none",
            f"output_dir={tmp_path / 'out'}",
            "benchmark=manifest",
            f"benchmark.path={tmp_path / 'bench.jsonl'}",
            "cache_dir=null",
            *more,
        )

    bench(swan={"sha256": "0" * 64}, seeds=[4])
    with pytest.raises(UserError, match="swan: sha256"):
        make_plan(job())
    run(job("benchmark.on_lost=skip"))
    printed = capsys.readouterr().out
    assert "1 references left out, 2 cases" in printed and "total, seconds" in printed
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [case["id"] for case in result["cases"]] == ["dog/fox/s4"]
    assert [lost["reference"] for lost in result["lost"]] == ["swan"]
    assert result["attribution"]["name"] and set(result["attribution"]["clips"]) == {"dog", "swan"}
    assert set(result["attribution"]["clips"]["dog"]) == {"origin", "license"}
    assert result["costs"]["total_seconds"]["n"] == 1 and result["costs"]["energy_joules"]["n"] == 0
    bench(seeds=[4])  # the other clip came back: only its cases run
    ran = []
    original = Session.attempt

    def watched(self: Session, case: TransferCase, **hooks: object) -> Transfer | DivergedCase:
        ran.append(case.id)
        return original(self, case, **hooks)

    monkeypatch.setattr(Session, "attempt", watched)
    run(job("benchmark.on_lost=skip"))
    assert ran == ["swan/same/s4", "swan/cat/s4"]
    bench(dog={"prompts": [{"id": "fox", "text": "a wolf"}]}, seeds=[4])  # same id, another prompt
    with pytest.raises(UserError, match=r"another content of case dog/fox/s4.*overwrite=true"):
        run(job("benchmark.on_lost=skip"))
    run(job("benchmark.on_lost=skip", "overwrite=true"))
    assert ran[2:] == ["dog/fox/s4"]
