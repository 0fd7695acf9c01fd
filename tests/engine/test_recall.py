"""Videos that were made are not made again: cells by content, new scores on kept pixels, links that stand alone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import fastvmt.engine.loaded
from fastvmt.algorithm import ALGORITHM
from fastvmt.backbones.wan import WanBackbone
from fastvmt.engine.identity import config_hash, content, videos_key
from fastvmt.engine.loaded import Loaded, Shelf
from fastvmt.engine.plan import make_plan
from fastvmt.engine.recall import kept
from fastvmt.engine.run import run
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.folder import RunFolder
from helpers.config import composed

WORDS = ["logger=none", "metrics=none", "benchmark=world", "benchmark.cases=1"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the cases that are generated from here on."""
    import fastvmt.engine.session as session

    ids: list[str] = []
    transfer = session.transfer_case

    def counted(backbone: Any, method: Any, sampler: Any, case: Any, *rest: Any, **named: Any) -> Any:
        ids.append(case.id)
        return transfer(backbone, method, sampler, case, *rest, **named)

    monkeypatch.setattr(session, "transfer_case", counted)
    return ids


@pytest.fixture
def go(small: list[str], tmp_path: Path, made: list[str]) -> Any:
    """Run into a folder below the test's, with its cache."""

    def start(folder: str, *overrides: str) -> list[CaseRecord]:
        run(composed(*small, *WORDS, f"cache_dir={tmp_path}/cache", f"output_dir={tmp_path / folder}", *overrides))
        return RunFolder(tmp_path / folder).records()

    return start


def test_what_no_method_reads_and_what_moves_no_pixel_makes_no_video_again(go: Any, made: list[str], tmp_path: Path):
    (first,) = go("a", "method=none")
    assert len(made) == 1
    same = ["window.l=3", "skip.delta=1", "benchmark.seed=0", "threads=1", "on_diverged=stop", "backbone.memory=low"]
    same += ["backbone.cache_ratios=[1.0,0.9,0.8]", "backbone.cache_threshold=0.5"]  # of an option that is off
    for i, word in enumerate(same):
        (record,) = go(f"b{i}", "method=none", word)
        assert record.frames_sha256 == first.frames_sha256, word
    (lossless,) = go("c", "method=none", "lossless=true")
    assert {"generated_lossless.mp4", "reference_lossless.mp4"} <= set(lossless.files)
    assert len(made) == 1, "a video was made twice"
    go("d", "method=none", "sampler.cfg_scale=2")
    go("e", "window.l=3")
    go("f", "window.l=5")
    assert len(made) == 4


def test_more_cases_and_seeds_make_only_what_is_new(go: Any, made: list[str]):
    go("a", "method=none", "seeds=[0]")
    go("a", "method=none", "seeds=[0,7]")
    records = go("a", "method=none", "seeds=[0,7]", "benchmark.cases=2")
    assert len(made) == len(records) == 4
    assert [record.id.rsplit("/")[-1] for record in records] == ["s0", "s7", "s0", "s7"]
    assert sorted({record.seed for record in records}) == [0, 1, 7, 8]
    assert len({record.frames_sha256["generated"] for record in records}) == 4


def test_a_new_score_is_computed_from_kept_pixels_without_the_model(
    go: Any, made: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (plain,) = go("a")
    monkeypatch.setattr(Loaded, "load", lambda _: pytest.fail("the model was loaded"))
    (scored,) = go("a", "metrics=fast")
    (elsewhere,) = go("b", "metrics=fast", "metrics.also=[temporal_flickering]")
    assert len(made) == 1 and not plain.scores
    assert elsewhere.scores["text_similarity"] == scored.scores["text_similarity"]
    assert {"temporal_flickering"} <= set(elsewhere.scores) and "temporal_flickering" not in scored.scores
    (cell,) = tmp_path.glob("cache/cells/*/*/scores.jsonl")
    lines = [json.loads(line) for line in cell.read_text().splitlines() if line]
    names = [line["score"] for line in lines]
    assert len(names) == len(set(names)), "a score was computed twice"
    monkeypatch.setattr("fastvmt.score.scores.Scores.judge", lambda *_, **__: pytest.fail("computed again"))
    go("c", "metrics=fast")


def test_scores_of_kept_pixels_are_those_of_memory(go: Any, tmp_path: Path):
    (direct,) = go("a", "metrics=fast", f"cache_dir={tmp_path}/other")
    go("b")
    (kept,) = go("b", "metrics=fast")
    assert kept.frames_sha256 == direct.frames_sha256
    for name, value in direct.scores.items():
        assert kept.scores[name] == pytest.approx(value, nan_ok=True, abs=0), name
    assert kept.notes == direct.notes


def test_a_run_is_whole_without_the_cache_and_overwriting_it_leaves_the_cell(go: Any, made: list[str], tmp_path: Path):
    (record,) = go("a")
    case = RunFolder(tmp_path / "a").case(record.id)
    (cell,) = (file.parent for file in tmp_path.glob("cache/cells/*/*/case.json"))
    assert os.path.samefile(case.generated, cell / "generated.mp4")  # a link, no second copy
    assert not case.lossless.exists() and (cell / "generated_lossless.mp4").is_file()
    kept = (cell / "generated.mp4").read_bytes()
    go("a", "sampler.cfg_scale=2", "overwrite=true")
    assert (cell / "generated.mp4").read_bytes() == kept
    assert case.generated.read_bytes() != kept
    go("b")
    assert len(made) == 2


def test_rerun_makes_again(go: Any, made: list[str]):
    (first,) = go("a")
    (again,) = go("a", "rerun=all")
    assert len(made) == 2 and again.frames_sha256 == first.frames_sha256
    go("a", "rerun=failed")
    assert len(made) == 2


def test_another_version_of_the_arithmetic_counts_no_old_video(
    small: list[str], go: Any, made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan = make_plan(composed(*small, *WORDS, f"cache_dir={tmp_path}/cache"))
    go("a")
    with monkeypatch.context() as later:
        readers = ("engine.record", "engine.session", "engine.recall", "engine.standing")
        for module in (*readers, "methods.job", "backbones.text_encoder"):
            later.setattr(f"fastvmt.{module}.ALGORITHM", ALGORITHM + 1)
        assert kept(plan) == 0
        (record,) = go("b")
        assert len(made) == 2 and record.algorithm == ALGORITHM + 1
        go("c")
        assert len(made) == 2 and kept(plan) == 1
    go("d")
    assert len(made) == 2, "the old video is still there for the old version"


def test_diverged_cases_are_kept_and_made_again_when_asked(go: Any, made: list[str], monkeypatch: pytest.MonkeyPatch):
    words = ["method=none", "seeds=[0,1]"]
    velocity = WanBackbone.velocity
    with monkeypatch.context() as broken:

        def first_fails(self: Any, latents: torch.Tensor, *rest: Any) -> torch.Tensor:
            found = velocity(self, latents, *rest)
            return found * torch.inf if len(made) == 1 else found

        broken.setattr(WanBackbone, "velocity", first_fails)
        records = go("a", *words)
    assert [record.diverged is not None for record in records] == [True, False]
    assert [record.diverged is not None for record in go("b", *words)] == [True, False]
    assert len(made) == 2
    assert all(record.diverged is None for record in go("b", *words, "rerun=failed"))
    assert len(made) == 3


def test_damaged_cells_are_made_again(go: Any, made: list[str], tmp_path: Path):
    go("a")
    (lossless,) = tmp_path.glob("cache/cells/*/*/generated_lossless.mp4")
    lossless.write_bytes(b"")
    go("b")
    assert len(made) == 2
    (record,) = tmp_path.glob("cache/cells/*/*/case.json")
    record.write_text("{")
    go("c")
    assert len(made) == 3
    go("d")
    assert len(made) == 3


def test_a_half_written_score_line_costs_that_score_only(go: Any, made: list[str], tmp_path: Path):
    go("a")
    go("a", "metrics=fast")
    (scores,) = tmp_path.glob("cache/cells/*/*/scores.jsonl")
    text = scores.read_text()
    scores.write_text(text[: len(text) - 20])
    (record,) = go("b", "metrics=fast")
    (again,) = go("c", "metrics=fast")
    assert len(made) == 1 and again.scores.keys() == record.scores.keys()


def test_without_a_cache_nothing_is_kept(go: Any, made: list[str]):
    go("a", "cache_dir=null")
    go("a", "cache_dir=null")  # its own folder still counts
    go("b", "cache_dir=null")
    assert len(made) == 2


def test_jobs_of_one_process_load_the_model_once(small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    loaded: list[str] = []
    construct = fastvmt.engine.loaded.construct

    def counted(node: Any, what: str, *rest: Any, **named: Any) -> Any:
        loaded.append(what)
        return construct(node, what, *rest, **named)

    monkeypatch.setattr(fastvmt.engine.loaded, "construct", counted)
    shelf = Shelf()
    for i, word in enumerate(("skip.delta=1", "skip.delta=2", "method=none", "seed=3")):
        words = [*small, *WORDS, f"cache_dir={tmp_path}/cache", f"output_dir={tmp_path}/{i}", word]
        run(composed(*words), shelf)
    assert loaded == ["metrics", "backbone"]
    run(composed(*small, *WORDS, f"cache_dir={tmp_path}/cache", f"output_dir={tmp_path}/x", "metrics=fast"), shelf)
    assert loaded == ["metrics", "backbone", "metrics"]  # scored from kept pixels
    words = [*small, *WORDS, "metrics=fast", "tracker=lk", f"cache_dir={tmp_path}/cache", f"output_dir={tmp_path}/y"]
    run(composed(*words, "seed=4"), shelf)
    assert loaded == ["metrics", "backbone", "metrics", "metrics"]  # the model stays when scores or tracker change


def test_a_plan_counts_what_is_kept(small: list[str], go: Any, tmp_path: Path):
    words = [*small, *WORDS, f"cache_dir={tmp_path}/cache", "method=none", "benchmark.cases=2"]
    assert kept(make_plan(composed(*words))) == 0
    go("a", "method=none")
    assert kept(make_plan(composed(*words))) == 1
    assert kept(make_plan(composed(*words, "cache_dir=null"))) == 0
    own = [*words, f"output_dir={tmp_path / 'a'}"]  # where the first case is finished
    assert kept(make_plan(composed(*own, "cache_dir=null"))) == kept(make_plan(composed(*own))) == 1
    assert kept(make_plan(composed(*own, "seed=7", "cache_dir=null"))) == 0
    assert kept(make_plan(composed(*own, "rerun=all"))) == 0
    assert kept(make_plan(composed(*own, "rerun=failed"))) == 1


@pytest.mark.parametrize("word", ["cache_dir=null", "rerun=all"])
def test_rows_share_videos_only_where_one_finds_those_of_another(word: str):
    rows = [composed("method=none", f"window.l={l}", *words) for words in ([], [word]) for l in (3, 5)]
    shared, same, *own = map(videos_key, rows)
    assert shared == same is not None and own == [None, None]


def test_another_tokenizer_is_another_model(go: Any, made: list[str], random_wan: Path, tmp_path: Path):
    model = tmp_path / "model"
    shutil.copytree(random_wan, model)
    go("a", f"backbone.path={model}", "method=none")
    go("b", f"backbone.path={random_wan}", "method=none")  # the same in another place
    assert len(made) == 1
    file = next((model / "tokenizer").glob("*.json"))
    file.write_text(file.read_text() + "\n")
    go("c", f"backbone.path={model}", "method=none")
    assert len(made) == 2


def test_files_named_like_values_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def hashes_of_both() -> set[str]:
        words = ("argmax", "expectation")
        return {config_hash(composed("method=ditflow", f"method.displacement={word}")) for word in words}

    hashes = hashes_of_both()
    for name in ("argmax", "expectation"):
        (tmp_path / name).touch()
    assert len(hashes) == 2 and hashes_of_both() == hashes


def test_the_source_of_a_class_from_outside_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "mylab_method.py"
    module.write_text("SCALE = 1\n")
    first = content("method._target_", "mylab_method.Mine")
    module.write_text("SCALE = 50\n")
    assert content("method._target_", "mylab_method.Mine") != first
    assert content("method._target_", "fastvmt.methods.none.NoTransfer") == "fastvmt.methods.none.NoTransfer"
