"""A device without memory ends the run in one line that names the next preset."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

import fastvmt
from fastvmt.data.video import write_video
from fastvmt.engine import rescore, retime
from fastvmt.engine.out_of_memory import refusal, too_large
from fastvmt.engine.plan import make_plan
from fastvmt.engine.run import run
from fastvmt.errors import UserError
from fastvmt.score import command as score
from helpers.clips import clip
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


LOADING, TRANSFERRING = "fastvmt.backbones.pretrained.load", "fastvmt.engine.session.transfer_case"
LINES = {
    LOADING: r"^backbone\.path=.*: the device ran out of memory while weights loaded; set backbone\.offload=true$",
    TRANSFERRING: r"^backbone\.memory=balanced: the device ran out of memory; set backbone\.memory=low$",
}


def full(*_: object, **__: object) -> None:
    """Stand in for what asks a full device for memory."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.parametrize("work", LINES)
def test_a_run_ends_in_that_line(job: list[str], work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, full)
    with pytest.raises(UserError, match=LINES[work]):
        run(composed(*job, "backbone.memory=balanced", "metrics=none", "logger=none"))


def test_a_session_ends_in_that_line(small: list[str], finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*small, "backbone.memory=balanced", "metrics=none"]
    clip = next((finished_run / "cases").glob("*/reference_lossless.mp4"))
    with fastvmt.open(words) as session, monkeypatch.context() as patch:
        patch.setattr(TRANSFERRING, full)
        with pytest.raises(UserError, match=LINES[TRANSFERRING]):
            session.transfer(clip, "a dog on grass")
    monkeypatch.setattr(LOADING, full)
    with pytest.raises(UserError, match=LINES[LOADING]):
        fastvmt.open(words)


SCORES = "the device ran out of memory with the networks of the scores; set metrics.device=cpu"
SCORING = "fastvmt.score.scores.Scores.judge"


@pytest.mark.parametrize(
    ("command", "work"),
    [
        (retime, "fastvmt.engine.loaded.make_tracker"),
        (rescore, "fastvmt.engine.loaded.make_tracker"),
        (rescore, SCORING),
    ],
)
def test_commands_for_studies_end_in_a_line(
    study: Path, command: ModuleType, work: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(work, full)
    more = ["metrics.also=[temporal_flickering]", "metrics.frames=7"]  # of which no other test keeps scores
    assert command.main([str(study), *(more if command is rescore else [])]) == 2
    assert SCORES in capsys.readouterr().err


@pytest.mark.parametrize("work", ["fastvmt.score.command.make_tracker", SCORING])
def test_scoring_files_ends_in_a_line(
    work: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(tmp_path / "clip.mp4", clip(9))
    monkeypatch.setattr(work, full)
    assert score.main([str(tmp_path / "clip.mp4"), str(tmp_path / "clip.mp4"), "--prompt", "a dog"]) == 2
    assert SCORES in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "mend"),
    [
        ("backbone.memory=fast", "set backbone.memory=balanced backbone.offload=true"),
        ("backbone.memory=low backbone.compile=regional", "set backbone.compile=none backbone.offload=true"),
        ("backbone.offload=true", "take a smaller model, or a device with more memory free"),
    ],
)
def test_weights_without_room_ask_for_what_leaves_them_out(words: str, mend: str) -> None:
    assert str(too_large(composed(*words.split()).backbone)).endswith(f"while weights loaded; {mend}")


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UserError, match=r"backbone\.memory=small .*fast, balanced, low"):
        make_plan(composed("backbone.memory=small"))
