"""A case that is stopped after any step and goes on is the undisturbed one, bit for bit."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from fastvmt.engine.case_state import StateFile, decoded, encoded
from fastvmt.engine.session import Session, open_session
from fastvmt.methods.state import State
from fastvmt.stopwatch import KEPT
from helpers.config import composed

STEPS = 4
METHODS = {
    "fastvmt": ["guidance.fraction=1", "guidance.iterations=3", "skip.delta=2"],
    "fastvmt_pass": ["guidance.fraction=0.5", "sampler.negative_every=2"],
    "motion_director": ["method=motion_director", "method.tuning.iterations=2", "method.inversion.share=0"],
    "unipc": ["sampler.name=unipc", "guidance.fraction=0.5", "guidance.source=pass"],
    "dpmpp": ["sampler.name=dpmpp", "method=none"],
    "smm": ["method=smm", "method.ref=rf_inversion", "method.init=highfreq", "method.restart=true"],
    "motionclone": ["method=motionclone", "method.fraction=1", "method.weight=1"],
    "ditflow": ["method=ditflow", "method.target=embedding", "method.rope=true", "method.fraction=1"],
}


class Killed(BaseException):
    """Ends a case as a kill does."""


@pytest.fixture(scope="module")
def first_session(small) -> Session:
    return open_session(composed(*small, "metrics=none", "logger=none"))


def told(transfer) -> tuple:
    """Everything that must be equal, seconds and joules aside."""
    result = transfer.result
    return (result.trace, vars(result.passes), transfer.record.frames_sha256, sorted(result.learned))


@pytest.mark.parametrize("name", METHODS)
def test_a_case_that_is_killed_after_every_step_ends_as_the_undisturbed(name, small, first_session, tmp_path) -> None:
    words = [*small, "metrics=none", "logger=none", *METHODS[name], f"sampler.steps={STEPS}"]
    words += ["method.block=1"] if name in ("smm", "motionclone", "ditflow") else []
    session = first_session.under(composed(*words, f"cache_dir={tmp_path / 'whole'}"))
    case = session.plan.cases[0]
    whole = session.transfer_case(case)
    session = first_session.under(composed(*words, f"cache_dir={tmp_path / 'parts'}"))
    state = StateFile(tmp_path / "state.safetensors", session.identity(case), every=1)
    begun: list[int] = []

    def kill(step: int) -> None:
        begun.append(step)
        raise Killed

    for _ in range(STEPS):
        with pytest.raises(Killed):
            session.transfer_case(case, checkpoint=state, on_step=kill)
    assert begun == [0, 1, 2, 3]
    parts = session.transfer_case(case, checkpoint=state)
    assert told(parts) == told(whole)
    assert torch.equal(parts.latents, whole.latents)
    for key, tensor in whole.result.learned.items():
        assert torch.equal(parts.result.learned[key], tensor)
    assert parts.record.seconds.get(KEPT) == whole.record.seconds.get(KEPT)
    assert parts.record.cost.energy.method is None and "earlier process" in parts.record.cost.energy.reason


def test_a_case_that_goes_on_is_charged_what_its_first_process_found(small, first_session, tmp_path) -> None:
    few = ["metrics=none", "logger=none", "guidance.fraction=0.5", f"sampler.steps={STEPS}"]
    words = [*small, *few]
    session = first_session.under(composed(*words, f"cache_dir={tmp_path}"))
    case = session.plan.cases[0]
    session.transfer_case(case)
    found = first_session.under(composed(*words, f"cache_dir={tmp_path}")).transfer_case(case).record.seconds[KEPT]

    def kill(step: int) -> None:
        if step == STEPS // 2:  # nothing is read any more
            raise Killed

    state = StateFile(tmp_path / "state.safetensors", session.identity(case), every=1)
    with pytest.raises(Killed):
        first_session.under(session.plan.cfg).transfer_case(case, checkpoint=state, on_step=kill)
    later = first_session.under(session.plan.cfg).transfer_case(case, checkpoint=state)
    assert later.result.went_on and later.record.seconds[KEPT] == pytest.approx(found) and found > 0


def state() -> State:
    tensors = {"a": torch.ones(2)}
    trace = [{"step": 0, "loss": 0.1}]
    return State(2, torch.rand(1, 2, 3, 4, 4), tensors, tensors, {"cpu": torch.get_rng_state()}, trace, {}, {"x": 0.3})


def test_a_state_comes_back_with_every_bit() -> None:
    first = state()
    back = decoded(encoded(first))
    assert torch.equal(back.latents, first.latents) and back.trace == first.trace and back.seconds == first.seconds
    assert back.step == 2 and torch.equal(back.generators["cpu"], first.generators["cpu"])


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other", "threads"])
def test_what_cannot_be_gone_on_from_is_set_aside(damage, session, tmp_path: Path, caplog) -> None:
    identity = session.identity(session.plan.cases[0])
    file = StateFile(tmp_path / "state.safetensors", identity, 1)
    file.write(state())
    content = bytearray(file.path.read_bytes())
    if damage == "other":
        file = StateFile(file.path, session.identity(session.plan.cases[0]), 1)
        file.key = file.key.replace('"state": 1', '"state": 2')
    elif damage == "threads":
        file.key = file.key.replace('"threads": 1', '"threads": 2')
    else:
        content[-5] ^= 4
        file.path.write_bytes({"cut": content[:-9], "bit": content, "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        assert file.read() is None
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors.aside"]
    (line,) = caplog.messages
    assert "the case starts over" in line
    assert file.read() is None
