"""The command line's words, spelled out and in the order that the library reads."""

from __future__ import annotations

import argparse
import shlex

import pytest
from hydra._internal.utils import get_args_parser

from experiments.checks.fork import run_command
from fastvmt.command_line import LONG, OPEN, TOPICS, VALUED, options_first, spelled_out


@pytest.mark.parametrize(
    ("typed", "options", "overrides"),
    [
        ("dry=true --config-dir own window.l=3", "--config-dir own", "dry=true window.l=3"),
        ("a=1 -m b=2 --config-dir=own ~c", "-m --config-dir=own", "a=1 b=2 ~c"),
        ("-cd own=1 a=1", "-cd own=1", "a=1"),
        ("a=1 --info defaults b=2", "--info defaults", "a=1 b=2"),
        ("a=1 --info b=2", "--info", "a=1 b=2"),
        ("a=1 --info ~b", "--info", "a=1 ~b"),
        ("-i --config-dir own a=1", "-i --config-dir own", "a=1"),
        ("a=1 --experimental-rerun x.pkl", "--experimental-rerun x.pkl", "a=1"),
        ("-- a=1", "", "a=1"),
        ("windw -m", "-m", "windw"),
        ("-m --info", "-m --info", ""),
        ("", "", ""),
    ],
)
def test_options_come_before_overrides(typed: str, options: str, overrides: str) -> None:
    expected = [*shlex.split(options), *(["--", *shlex.split(overrides)] if overrides else [])]
    found = options_first(shlex.split(typed))
    assert found == expected == options_first(found)
    assert get_args_parser().parse_args(found).overrides == shlex.split(overrides)


def test_options_with_a_value_are_those_of_the_library() -> None:
    actions = [action for action in get_args_parser()._actions if action.option_strings]
    valued = {name for each in actions if isinstance(each, argparse._StoreAction) for name in each.option_strings}
    assert valued == VALUED | OPEN
    assert {name for each in actions for name in each.option_strings if name.startswith("--")} == LONG
    (info,) = (action for action in actions if "--info" in action.option_strings)
    assert set(info.choices) == TOPICS


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--multi a=1,2", "--multirun a=1,2"),
        ("--config-d own", "--config-dir own"),
        ("--config-d=a=b", "--config-dir=a=b"),
        ("--config own", "--config own"),  # of three options: the library says so
        ("-m prompt=--multi --nosuch --", "-m prompt=--multi --nosuch --"),
    ],
)
def test_options_that_are_cut_are_those_that_are_meant(typed: str, meant: str) -> None:
    assert spelled_out(shlex.split(typed)) == shlex.split(meant)


@pytest.mark.slow
def test_a_sweep_takes_a_folder_of_yaml_files_wherever_it_is_said(tmp_path) -> None:
    words = ("run", "-m", "dry=true", "window.l=3,5", "logger=none", "--config-dir", str(tmp_path), "skip.delta=1")
    done = run_command((*words, f"output_dir={tmp_path / 'out'}"), tmp_path)
    assert (done.code, done.stdout.count("dry run: valid")) == (0, 2), done.stderr
