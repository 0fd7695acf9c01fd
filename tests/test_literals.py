"""Prompts and paths reach the configuration as the shell gave them."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st

from fastvmt.config import config_folder
from fastvmt.literals import KEYS, literal, quoted

PROMPTS = [
    "a dog's ball",
    "été à la plage",
    "犬が走る",
    "🐶 on 🌊",
    "a dog — on grass",
    "a dog; on grass",
    "who? me!",
    "a & b",
    "#1 dog",
    "x = 1",
    "a dog (brown)",
    "[dog]",
    "{dog}",
    "a dog, on grass",
    "a, b, c",
    "${oc.env:HOME}",
    "$HOME",
    "\\${x}",
    "\\",
    "a\\'b",
    "'",
    "''",
    '"',
    'say "cheese"',
    "a: b",
    "tab\there",
    "two\nlines",
    "  spaces  ",
    "100 %",
    "@dog",
    "~dog",
    "[/red]",
    "\\\\",
    "${",
    "}",
    "$",
    "$${x}",
    "\\\\${x}",
    "it's ${oc.env:HOME} a\\",
    "1",
    "1e3",
    "true",
    "None",
    "-m",
    "a=b",
    "*",
    "|",
    "<dog>",
    "a 'dog' on \"grass\"",
    "\u2028",
    "clip (1).mp4",
    "C:\\clips\\a.mp4",
]


def composed(*overrides: str):
    with initialize_config_dir(version_base="1.3", config_dir=str(config_folder())):
        return compose("config", overrides=["output_dir=unused", *overrides])


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_value_is_taken_literally(prompt: str) -> None:
    cfg = composed(*literal([f"{key}={prompt}" for key in KEYS]))
    assert [cfg[key] for key in KEYS] == [prompt] * len(KEYS)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_text_survives_the_quoting(text: str) -> None:
    assert composed(f"prompt={quoted(text)}").prompt == text


@pytest.mark.parametrize("value", ["'a dog, on grass'", '"a dog, on grass"'])
def test_what_is_quoted_for_hydra_already_keeps_its_meaning(value: str) -> None:
    assert composed(*literal([f"prompt={value}"])).prompt == "a dog, on grass"


@pytest.mark.parametrize("sweep", [["-m"], ["--multirun"], ["hydra.mode=MULTIRUN"]])
def test_sweeps_and_other_keys_are_left_alone(sweep: list[str]) -> None:
    arguments = [*sweep, "prompt=a,b"]
    assert literal(arguments) == arguments
    assert literal(["window.l=3", "prompt=null", "seed=1", "--cfg", "job"]) == [
        "window.l=3",
        "prompt=null",
        "seed=1",
        "--cfg",
        "job",
    ]
