"""The search of settings: fair candidates, an honest winner; and the logs that experiments share."""

from __future__ import annotations

import json
import math
import multiprocessing
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments import tune
from experiments.comparison import REFERENCES, SEEDS, Bench
from experiments.json_lines import append_line, locked, read_lines
from experiments.rows import RESULTS
from experiments.tune import BASE, CANDIDATES, FIRST, complete, main, means, method_of, settings_of, sift
from experiments.tune_report import differing, markdown, winners
from fastvmt.engine.plan import Plan, make_plan
from fastvmt.methods.flowmotion import FlowMotion
from fastvmt.methods.smm import SMM
from fastvmt.methods.tuned import Tuned
from helpers.config import composed
from helpers.weights import weights_hash

WINDOWED, DENSE = 0.044, 0.047
"""A gradient's share of the time of plain sampling's loop, measured on tiny-wan with 20 steps."""
LIMITS = {"fastvmt": 1.6, "flowmotion": 1.7, "motionclone": 1.3, "ditflow": 1.9, "moft": 2.0, "smm": 2.0}
"""Of the loop's time, by that of plain sampling; methods that are tuned sample at its cost."""
TINY = ["backbone.height=48", "backbone.width=48", "sampler.steps=2", "guidance.block=1"]


def settings(candidate: list[str], references: int = tune.REFERENCES) -> str:
    return settings_of(complete(candidate, references))


# candidates


@cache
def planned(*candidate: str) -> Plan:
    return make_plan(composed(*candidate))


def reference_blocks(plan: Plan) -> int:
    """Block forwards over the reference: one reading, or one at every guided step."""
    method, steps = plan.method, plan.sampler.steps
    if isinstance(method, FlowMotion):
        return method.optimisation.guided(steps) * plan.layout.depth
    once = plan.guidance.block + getattr(method, "stops_after", 0)
    return once * (method.optimisation.guided(steps) if isinstance(method, SMM) and method.ref == "matched" else 1)


def test_as_many_candidates_for_every_method_or_more() -> None:
    assert {len(listed) for listed in FIRST.values()} == {6} and len(FIRST) == 9
    assert len(CANDIDATES["fastvmt"]) == 6 and max(len(listed) for listed in CANDIDATES.values()) <= 14
    for method, listed in CANDIDATES.items():
        assert {candidate[0] for candidate in listed} == {f"method={method}"}
        assert len({tuple(text.partition("=")[0] for text in candidate) for candidate in listed}) == 1  # the same keys
    assert method_of(["window.l=7"]) == "fastvmt"


@pytest.mark.parametrize("method", CANDIDATES)
def test_candidates_are_legal_and_differ(method: str) -> None:
    listed = CANDIDATES[method]
    assert len({settings(candidate) for candidate in listed}) == len(listed)
    assert {planned(*candidate).method.name for candidate in listed} == {method}


@pytest.mark.parametrize("method", LIMITS)
def test_candidates_keep_to_the_limits_of_time(method: str) -> None:
    for candidate in CANDIDATES[method]:
        plan = planned(*candidate)
        steps, scale = plan.sampler.steps, plan.sampler.cfg_scale
        passes = plan.method.budget(plan.layout, plan.sampler)
        plain = 2 * steps * plan.layout.depth
        reference = reference_blocks(plan)
        ratio = (passes.block_forwards + reference) / plain  # without gradients
        if passes.gradients:
            ratio = 1 + passes.gradients * (WINDOWED if method == "fastvmt" else DENSE) + reference / plain
        assert steps == 20 and scale > 1 and ratio <= LIMITS[method] and passes.gradients <= 18
        assert method != "fastvmt" or passes.gradients <= 13


@pytest.mark.parametrize("method", [method for method in CANDIDATES if method not in LIMITS])
def test_tuned_candidates_sample_at_plain_cost(method: str) -> None:
    for candidate in CANDIDATES[method]:
        plan = planned(*candidate)
        assert isinstance(plan.method, Tuned)
        steps = plan.sampler.steps
        whole, tuning = plan.method.budget(plan.layout, plan.sampler), plan.method.tuning_passes(plan.layout)
        assert steps == 20 and whole.block_forwards - tuning.block_forwards == 2 * steps * plan.layout.depth
        assert (whole.block_backwards, whole.gradients) == (tuning.block_backwards, tuning.gradients)


def test_latents_move_equally_far_for_both_budgets_of_fastvmt() -> None:
    guidance = [composed(*candidate).guidance for candidate in CANDIDATES["fastvmt"]]
    reach = [round(g.lr * g.iterations, 6) for g in guidance]
    assert reach[:3] == reach[3:] == [0.06, 0.09, 0.15] and all(g.lr == g.lr_end for g in guidance)


def test_a_default_of_fastvmt_leaves_the_lines_of_others_alone() -> None:
    candidate = CANDIDATES["ditflow"][0]
    assert settings(candidate) == settings([*candidate, "guidance.lr=0.5", "window.l=7", "skip.delta=1"])
    for other in ("guidance.block=2", "method.lr=0.5", "sampler.steps=5", "seed=1", "benchmark.seed=0"):
        assert settings([*candidate, other]) != settings(candidate), other
    assert settings(candidate) != settings(candidate, references=2)
    assert settings(["guidance.lr=0.5"]) != settings([])


# the split


def test_the_tuning_split_shares_neither_scene_nor_noise_with_the_reported_cases(
    random_wan: Path, tmp_path: Path
) -> None:
    small = [f"backbone.path={random_wan}", *TINY]
    bench = Bench(REFERENCES, tmp_path, small)
    reported = [case for seed in SEEDS for case in bench.cases(seed)]
    mine = list(make_plan(composed(*complete(BASE, tune.REFERENCES), *small)).cases)
    frames, theirs = ({case.reference.frames_THWC.numpy().tobytes() for case in cases} for cases in (mine, reported))
    assert len(mine) == 8 and len(frames) == 4 and len(theirs) == REFERENCES and not frames & theirs
    noises = {case.seed for case in mine}
    assert len(noises) == 8 and not noises & {case.seed for case in reported}
    assert len({case.category for case in mine}) == 4  # one of every kind


# lines and winners


def test_only_lines_of_candidates_as_they_would_run_today_count() -> None:
    candidate, changed = ["method=moft", "method.lr=0.05"], ["method=moft", "method.lr=0.06"]
    line = {"overrides": candidate, "weights": "w", "settings": settings(candidate)}
    strangers = [
        {**line, "weights": "v"},
        {**line, "settings": "older"},
        {"overrides": candidate, "weights": "w", "cases": 8},
        {**line, "overrides": changed, "settings": settings(changed)},
        {"overrides": ["guidance.gone=1"], "weights": "w", "settings": "x"},
    ]
    again = {**line, "text_similarity": 0.2}
    rows, others = sift([line, *strangers, again], [BASE, candidate], "w", tune.REFERENCES)
    assert rows == [again] and others == {"moft": 4, "fastvmt": 1}


def record(name: str, trajectory: float, fidelity: float) -> SimpleNamespace:
    scores = {"trajectory_cosine": trajectory, "motion_fidelity": fidelity, "text_similarity": 0.2}
    seconds = {"denoise": 2.0, "guide": 1.0, "tune": 5.0}
    return SimpleNamespace(id=name, scores=scores, seconds=seconds, frames=9, pooled=[])


def test_an_unmeasured_trajectory_counts_as_nothing() -> None:
    row = means([record("a/p0", 0.8, 0.6), record("a/p1", math.nan, 0.5), record("b/p0", math.nan, 0.4)])
    assert row["counted"]["trajectory_cosine"] == pytest.approx(0.8 / 3, abs=1e-4) and row["trajectories"] == 1
    assert row["counted"]["motion_fidelity"] == pytest.approx(0.5)
    assert row["trajectory_cosine"] == 0.8 and row["loop"] == 3 and row["tune"] == 7.5


def row(method: str, name: str, trajectory: float, fidelity: float, text: float) -> dict:
    return {
        "method": method,
        "overrides": [f"method={method}", *([name] if name else [])],
        "cases": 8,
        "trajectories": 7,
        "counted": {"trajectory_cosine": trajectory, "motion_fidelity": fidelity},
        "text_similarity": text,
        "loop": 3.0,
        "tune": 0.0,
    }


ROWS = [
    row("none", "", 0.0, 0.6, 0.25),
    row("moft", "a=1", 0.3, 0.6, 0.23),
    row("moft", "a=2", 0.9, 0.9, 0.21),
    row("moft", "a=3", 0.2, 0.8, 0.22),
    row("smm", "a=1", 0.9, 0.9, 0.1),
    row("smm", "a=2", 0.1, 0.1, 0.2),
    {"method": "det", "overrides": ["method=det", "a=1"], "cases": 8, "error": "diverged"},
    row("ditflow", "a=1", 1.0, 1.0, 0.25),
]
LISTED = {m: [[f"method={m}", f"a={i + 1}"] for i in range(n)] for m, n in (("moft", 3), ("smm", 2), ("det", 1))}
LISTED["ditflow"] = [["method=ditflow", f"a={i + 1}"] for i in range(2)]


def test_the_winner_keeps_to_the_prompt() -> None:
    best = winners(ROWS, LISTED)
    # smm: none is close enough to the prompt; ditflow: one candidate has not run; det: none came to its end
    assert {method: won["overrides"][-1] for method, won in best.items()} == {"moft": "a=3", "smm": "a=2"}
    assert winners(ROWS[1:], LISTED) == {}  # nothing to keep to


def test_the_report_says_how_it_came_about() -> None:
    text = markdown("w", ROWS, LISTED, {"fastvmt": 26, "none": 2})
    assert "`fastvmt` 26, `none` 2 (28 in all)" in text and "began better informed" in text
    assert "Not finished: `ditflow` 1 of 2." in text and "| `moft` | `a` 1, 2, 3 | `a=3` |" in text
    assert "Chosen by text similarity alone, as none kept close enough to the prompt: `smm`." in text
    assert "| * | `method=moft a=3` | 1.000 | 0.200 | 7 of 8 | 0.800 | 0.220 | 1.000 | - |" in text
    assert "| *(text) | `method=smm a=2` |" in text and "|  | `method=det a=1` | diverged |" in text
    assert "Not finished: `none` 0 of 1, `moft` 0 of 3" in markdown("w", [], LISTED, {})


def test_yaml_defaults_are_the_winners() -> None:
    assert differing(["method=moft", "method.block=4"]) == []
    assert differing(["method=moft", "method.lr=7.5"])[0].startswith("method.lr=7.5, not ")
    file = RESULTS / "tuning_winners.json"
    if not file.exists():
        pytest.skip("the search has not been run: python -m experiments.tune")
    found = json.loads(file.read_text())
    if found["weights"] != weights_hash(composed()):
        pytest.skip("the search was run on other weights: python -m experiments.tune")
    missing = {method: changes for method, overrides in found["winners"].items() if (changes := differing(overrides))}
    assert missing == {}, "conf/method and conf/guidance lack the winners"


# all together


def test_a_search_goes_on_shares_its_work_and_reports(random_wan: Path, tmp_path: Path, monkeypatch) -> None:
    listed = [["method=moft", f"method.lr={lr}", "method.fraction=0.5"] for lr in (0.02, 0.05)]
    monkeypatch.setattr(tune, "CANDIDATES", {"moft": listed})
    monkeypatch.setattr(tune, "COMMON", [*tune.COMMON, f"backbone.path={random_wan}", *TINY])
    log, folder = tmp_path / "tuning.jsonl", tmp_path / "out"
    append_line(log, {"overrides": [], "weights": "older"})
    words = ["--references", "1", "--log", str(log), "--folder", str(folder), "--methods", "moft"]
    weights = weights_hash(composed(f"backbone.path={random_wan}"))
    with locked(folder / f"{weights}-{settings(BASE, 1)}.lock"):  # another process runs plain sampling
        main(words)
    assert [line["overrides"] for line in read_lines(log)[1:]] == listed
    assert json.loads((tmp_path / "tuning_winners.json").read_text()) == {"weights": weights, "winners": {}}
    assert len(read_lines(folder / f"{weights}-{settings(listed[0], 1)}.jsonl")) == 2  # one per prompt

    main(words)
    assert [line["overrides"] for line in read_lines(log)[3:]] == [BASE]
    won = json.loads((tmp_path / "tuning_winners.json").read_text())["winners"]
    assert won["moft"] in listed and "`fastvmt` 1 (1 in all)" in (tmp_path / "tuning.md").read_text()

    monkeypatch.setattr(tune.Search, "run", lambda *_: pytest.fail("ran again"))
    (tmp_path / "tuning.md").unlink()
    main(words)
    main([*words, "--report"])
    assert (tmp_path / "tuning.md").exists() and not list(folder.glob("**/*.mp4"))


def test_one_candidate_of_ones_own(random_wan: Path, tmp_path: Path, capsys) -> None:
    own = [f"backbone.path={random_wan}", *TINY, "method=moft"]
    words = [*own, "--references", "1", "--log", str(tmp_path / "log.jsonl"), "--folder", str(tmp_path / "out")]
    main(words)
    main(words)
    (line,) = read_lines(tmp_path / "log.jsonl")  # not again, and no plain sampling
    assert line["method"] == "moft" and line["cases"] == 2 and line["loop"] > 0 and line["text_similarity"] > -1
    assert line["overrides"] == own and len(line["weights"]) == len(line["settings"]) == 12
    assert not (tmp_path / "log.md").exists()
    with pytest.raises(SystemExit):
        main([*words, "guidance.block=99"])
    assert "guidance.block" in capsys.readouterr().err


# logs


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    with locked(tmp_path / "new" / "a.lock") as mine, locked(tmp_path / "new" / "a.lock", wait=False) as also:
        assert mine and not also
    with locked(tmp_path / "new" / "a.lock", wait=False) as free:
        assert free


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
