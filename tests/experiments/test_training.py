"""The trainings' common loop: stopped and resumed, it ends where an undisturbed one ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from experiments.tiny_wan.training import Optimizers, Training

STEPS, SAVED, STOP = 30, 13, 23


def training(folder: Path, save_every: float = 0.0) -> Training:
    """A small network with matrices for Muon and vectors for AdamW; by default every step is a checkpoint."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3))
    optimizers = Optimizers(0.02, 1e-2, model, weight_decay=0.01)
    return Training(model, optimizers, folder, steps=STEPS, ema=0.9, save_every=save_every)


def train(job: Training, until: int = STEPS) -> Training:
    """Train on data that depend on the step alone; the process "dies" in step ``until``."""
    for step in job.steps():
        if step == until:
            raise KeyboardInterrupt
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        job.update((job.model(x) - x[:, :3].square()).square().mean())
    return job


def test_a_stopped_training_ends_where_an_undisturbed_one_ends(tmp_path):
    whole = train(training(tmp_path / "whole"))
    for save_every, until in ((0.0, SAVED), (1e9, STOP)):  # the second one dies ten steps after its checkpoint
        with pytest.raises(KeyboardInterrupt):
            train(training(tmp_path / "stopped", save_every), until)
    resumed = training(tmp_path / "stopped")
    assert resumed.step_count == SAVED
    train(resumed)
    for a, b in ((whole.model, resumed.model), (whole.averaged, resumed.averaged)):
        for name, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[name]), name
    assert resumed.step_count == STEPS
    assert resumed.lr_scale() == 0
    log = [json.loads(line)["step"] for line in (tmp_path / "stopped" / "log.jsonl").read_text().splitlines()]
    assert log == [0, 20]


def test_a_finished_training_does_nothing_more(tmp_path):
    done = train(training(tmp_path))
    again = training(tmp_path)
    before = {k: v.clone() for k, v in again.model.state_dict().items()}
    assert list(again.steps()) == []
    assert all(torch.equal(v, again.model.state_dict()[k]) for k, v in before.items())
    assert again.seconds == done.seconds


def test_a_gradient_that_is_not_finite_stops_before_it_spoils_the_weights(tmp_path):
    job = training(tmp_path)
    before = {k: v.clone() for k, v in job.model.state_dict().items()}
    with pytest.raises(FloatingPointError, match="lower muon_lr or adam_lr"):
        job.update(job.model(torch.full((1, 4), float("nan"))).mean())
    assert all(torch.equal(v, job.model.state_dict()[k]) for k, v in before.items())
