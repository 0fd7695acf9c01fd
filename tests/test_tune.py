"""The search of settings: fair candidates, an honest winner; and the logs that experiments share."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from experiments.rows import append_line, composed, read_lines, settings_hash
from experiments.tune import BASE, CANDIDATES, is_current, main, method_of, result_table, winners
from fastvmt.engine.plan import make_plan


def row(method: str, name: str, trajectory: float | None, fidelity: float, text: float) -> dict:
    scores = {"trajectory_cosine": trajectory, "motion_fidelity": fidelity, "text_similarity": text}
    found = {key: value for key, value in scores.items() if value is not None}
    return {"method": method, "overrides": [f"method={method}", name] if name else [f"method={method}"], **found}


def test_as_many_candidates_for_every_method() -> None:
    assert {len(listed) for listed in CANDIDATES.values()} == {6}
    assert {method_of(overrides) for listed in CANDIDATES.values() for overrides in listed} == set(CANDIDATES)
    assert method_of(["window.l=7"]) == "fastvmt"


@pytest.mark.parametrize("method", CANDIDATES)
def test_candidates_are_legal_and_differ(method: str) -> None:
    listed = CANDIDATES[method]
    plans = [make_plan(composed(overrides)) for overrides in (listed[0], listed[-1])]
    assert {plan.method.name for plan in plans} == {method}
    assert len({settings_hash(plan.cfg) for plan in plans}) == 2 and len({*map(tuple, listed)}) == len(listed)


def test_the_winner_keeps_to_the_prompt() -> None:
    rows = [
        row("none", "", 0.0, 0.6, 0.25), row("moft", "a", 0.3, 0.6, 0.23), row("moft", "b", 0.9, 0.9, 0.21),
        row("moft", "c", 0.2, 0.8, 0.24), row("moft", "d", None, 2.0, 0.25), row("smm", "a", 0.9, 0.9, 0.1),
        {"method": "det", "overrides": ["method=det"], "error": "diverged"},
    ]  # fmt: skip
    best = winners(rows)
    assert {method: won["overrides"][-1] for method, won in best.items()} == {"none": "method=none", "moft": "c"}
    assert winners(rows[1:]) == {}  # nothing to keep to
    assert result_table(rows).row_count == len(rows)


def test_lines_of_other_settings_weights_or_cases_do_not_count() -> None:
    overrides = ["method=moft", "method.lr=0.05"]
    line = {"overrides": overrides, "weights": "w", "cases": 8, "settings": settings_hash(composed(overrides))}
    assert is_current(line, "w", 8)
    assert not is_current(line, "v", 8) and not is_current(line, "w", 4)
    assert not is_current({**line, "settings": "older"}, "w", 8)
    assert not is_current({**line, "overrides": ["method=moft", "method.gone=1"]}, "w", 8)
    assert not is_current({"overrides": overrides, "weights": "w", "cases": 8}, "w", 8)


def test_one_candidate_of_ones_own(random_wan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        f"backbone.path={random_wan}", "backbone.height=48", "backbone.width=48", "sampler.steps=2", "method=moft",
        "guidance.block=1", "metrics=fast", f"cache_dir={tmp_path / 'cache'}", "--cases", "1", "--log",
        str(tmp_path / "log.jsonl"), "--folder", str(tmp_path / "out"),
    ]  # fmt: skip
    main(words)
    (line,) = read_lines(tmp_path / "log.jsonl")
    assert line["method"] == "moft" and line["cases"] == 1 and line["seconds"] > 0 and "text_similarity" in line
    assert line["overrides"] == words[:8] and len(line["weights"]) == len(line["settings"]) == 12
    main(words)
    assert len(read_lines(tmp_path / "log.jsonl")) == 1  # not again
    assert BASE not in [line["overrides"]]


def many(path: Path, name: str) -> None:
    for number in range(50):
        append_line(path, {"name": name, "number": number, "text": "x" * 9000})


def test_processes_may_write_one_log(tmp_path: Path) -> None:
    log = tmp_path / "new" / "log.jsonl"
    started = [multiprocessing.get_context("fork").Process(target=many, args=(log, name)) for name in "ab"]
    for process in started:
        process.start()
    for process in started:
        process.join()
    rows = read_lines(log)
    for name in "ab":
        assert [r["number"] for r in rows if r["name"] == name] == list(range(50))


def test_a_line_that_was_cut_short_spoils_only_itself(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert read_lines(log) == []
    append_line(log, {"a": 1})
    with log.open("a") as stream:
        stream.write('{"a": 2, "b')
    append_line(log, {"a": float("nan")})
    with pytest.warns(UserWarning, match="line 2 is cut short"):
        assert read_lines(log) == [{"a": 1}, {"a": None}]
    assert json.loads(log.read_text().splitlines()[2]) == {"a": None}
