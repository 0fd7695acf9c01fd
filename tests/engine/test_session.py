"""A session: loaded once, any number of transfers, each complete when made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import fastvmt
from fastvmt.cost.meters import open_meters
from fastvmt.engine import motion_plot
from fastvmt.engine.motion_plot import plot_motion
from fastvmt.engine.session import Session, open_session
from fastvmt.errors import UserError
from helpers.config import composed


@pytest.fixture(scope="module")
def clip(finished_run: Path) -> Path:
    return next((finished_run / "cases").glob("*/reference_lossless.mp4"))


def test_a_second_transfer_loads_nothing(small, clip, monkeypatch):
    with fastvmt.open([*small, "metrics=fast", "guidance.lr=0.02"]) as session:
        monkeypatch.setattr("fastvmt.engine.loaded.construct", lambda *_, **__: pytest.fail("loaded again"))
        first = session.transfer(video=clip, prompt="a dog on grass")
        other = session.transfer(str(clip), "a cat on sand", seed=3)
        again = session.transfer(clip, "a dog on grass")
    assert first.video.size == (9, 48, 48) and first.latents.shape == other.latents.shape
    assert torch.equal(first.latents, again.latents) and not torch.equal(first.latents, other.latents)
    assert (first.record.seed, other.record.seed, other.record.prompt) == (0, 3, "a cat on sand")
    with pytest.raises(ValueError, match="session is closed"):
        session.transfer_case(first.result.case)


def test_the_python_function_is_a_session_for_one_clip(small, clip, session):
    result = fastvmt.transfer(clip, "a dog on grass", overrides=[*small, "metrics=fast"])
    assert torch.equal(result.latents, session.transfer(clip, "a dog on grass").latents)
    assert result.scores is result.record.scores and -1 <= result.scores["text_similarity"] <= 1
    assert {"motion_fidelity", "temporal_consistency"} <= set(result.scores)
    assert result.seconds["total"] > 0 and len(result.trace) == 2
    with pytest.raises(FrozenInstanceError):
        result.record = None
    with pytest.raises(FrozenInstanceError):
        result.record.scores = {}


def test_keys_of_a_clip_are_checked(session, clip, tmp_path):
    with pytest.raises(UserError, match="window= is not a key of a clip; it has seed, prompt, negative_prompt"):
        session.transfer(clip, "a dog", window=3)
    with pytest.raises(UserError, match="does not exist"):
        session.transfer(tmp_path / "none.mp4", "a dog")
    with pytest.raises(UserError, match="needs a prompt"):
        session.transfer(clip, " ")
    with pytest.raises(UserError, match="pad_last"):
        session.transfer(clip, "a dog", start=4)
    assert session.transfer(clip, "a dog", start=4, frame_policy="pad_last").record.frames == 9


def test_another_configuration_shares_what_is_loaded(small, session):
    plain = session.under(composed(*small, "metrics=fast", "method=none"))
    assert plain.backbone is session.backbone and plain.scores is session.scores and plain.key != session.key
    case = session.plan.cases[0]
    assert plain.transfer_case(case).record.passes.gradients == 0
    assert session.transfer_case(case).record.passes.gradients == 1
    assert plain.identity(case).case == session.identity(case).case
    with pytest.raises(ValueError, match="metrics differs"):
        session.under(composed(*small))
    with pytest.raises(UserError, match=r"guidance\.block=6"):
        session.under(composed(*small, "metrics=fast", "guidance.block=6"))


def test_the_reference_is_read_once(small, tmp_path):
    with open_session(composed(*small, "metrics=none", f"cache_dir={tmp_path}")) as session:
        first, second = (session.transfer_case(session.plan.cases[0]).record for _ in range(2))
    assert first.passes.reference_forwards > second.passes.reference_forwards == 0
    assert second.reference_cache["hits"] > first.reference_cache["hits"] and second.reference_cache["misses"] == 1


def test_a_picture_leaves_the_counted_passes_alone(session, tmp_path):
    transfer = session.transfer_case(session.plan.cases[0])
    counted = transfer.record.passes.block_forwards
    hostile = replace(transfer.result, case=replace(transfer.result.case, prompt="$5 and $\\frac{1}$ for 猫"))
    for scores in (None, transfer.scores):
        plan = session.plan
        plot_motion(tmp_path / "a.png", session.backbone, hostile, plan.guidance, plan.window, scores)
        assert Image.open(tmp_path / "a.png").size[1] > 5 * motion_plot.DPI
    assert transfer.result.passes.block_forwards == transfer.record.passes.block_forwards == counted


def test_steps_and_iterations_are_told(session: Session):
    steps, rows = [], []
    transfer = session.transfer_case(session.plan.cases[0], on_step=steps.append, on_iteration=rows.append)
    assert steps == [0, 1, 2] and [row["loss"] for row in rows] == [row["loss"] for row in transfer.trace]


@pytest.mark.parametrize(("state", "watts"), [({"power_w": 71.5}, 71.5), ({"power_w": None}, None), (None, None)])
def test_idle_power_is_what_the_gpu_draws_before_the_first_case(monkeypatch, state, watts):
    nvml = None if state is None else SimpleNamespace(state=lambda: state)
    monkeypatch.setattr("fastvmt.cost.meters.open_nvml", lambda *_: (nvml, ""))
    assert open_meters(torch.device("cpu")).idle_power_w == watts
