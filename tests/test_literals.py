"""Prompts and paths reach the configuration as the shell gave them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from fastvmt.compose import composed as compose_from_python
from fastvmt.config import config_folder
from fastvmt.errors import UserError
from fastvmt.literals import KEYS, literal, quoted
from helpers.config import composed

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


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_value_is_taken_literally(prompt: str) -> None:
    cfg = composed(*literal([f"{key}={prompt}" for key in KEYS]))
    assert [cfg[key] for key in KEYS] == [prompt] * len(KEYS)


@pytest.mark.parametrize("prompt", ["a ${seed} dog", "${oc.env:HOME}", "\\\\${x}", "it's a, [b] = {c}", "${", "犬"])
def test_a_value_from_python_stays_text(prompt: str) -> None:
    cfg = compose_from_python([], {"prompt": prompt, "video": prompt})
    assert (cfg.prompt, cfg.video) == (prompt, prompt)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(TEXT, min_size=len(KEYS), max_size=len(KEYS)))
def test_any_text_survives_the_quoting(texts: list[str]) -> None:
    cfg = composed(*(f"{key}={quoted(text)}" for key, text in zip(KEYS, texts, strict=True)))
    assert [cfg[key] for key in KEYS] == texts


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


@pytest.mark.parametrize("prompt", PROMPTS)
def test_in_a_sweep_the_error_shows_the_quoting_that_works(prompt: str) -> None:
    if readable(prompt):
        OverridesParser.create().parse_override(f"prompt={prompt}")
        return
    with pytest.raises(UserError, match=r"\A[^\n]* cannot be read in a sweep[^\n]*\Z") as error:
        literal(["-m", f"prompt={prompt}"])
    shown = str(error.value).split(" write ", 1)[1]
    echoed = subprocess.run(["bash", "-c", f"printf %s {shown}"], capture_output=True, check=True).stdout.decode()
    assert literal(["-m", echoed]) == ["-m", echoed]
    override = OverridesParser.create().parse_override(echoed)
    assert not override.is_sweep_override() and override.value() == prompt.replace("${", "\\${")


def test_a_sweep_reads_plain_values_and_lists_of_them() -> None:
    words = ["-m", "prompt=a dog on grass,a cat on sand", "video='a b.mp4'", "prompt=choice(a,b)", "prompt=null"]
    assert literal(words) == words
    assert sum(not readable(prompt) for prompt in PROMPTS) > 20


def readable(prompt: str) -> bool:
    """Whether a sweep takes a prompt."""
    try:
        literal(["-m", f"prompt={prompt}"])
    except UserError:
        return False
    return True


def test_the_command_ends_in_that_line() -> None:
    done = subprocess.run(
        [sys.executable, "run.py", "-m", "video=a.mp4", "prompt=a dog's ball"],
        cwd=config_folder().parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("fastvmt: 'prompt=a dog") and done.stderr.count("\n") == 1
    assert "cannot be read in a sweep" in done.stderr
