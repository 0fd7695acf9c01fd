"""What cannot be composed ends in one line with the nearest key or option."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from experiments.checks.fork import run_command, working_folder
from fastvmt.compose import composed
from fastvmt.compose_errors import explained
from fastvmt.config import config_folder
from fastvmt.errors import UserError

CASES = {
    "window.L=5": "window.L is no key, the nearest is window.l; python run.py --help lists all",
    "methd=ditflow": "methd is no key, the nearest is method;",
    "method=ditflw": "method=ditflw is no option of method, the nearest is ditflow; it has det, ditflow, ",
    "experiment=smok": "experiment=smok is no option of experiment, the nearest is smoke; it has ",
    "window.l=abc": "window.l=abc: Value 'abc' of type 'str' could not be converted to Integer",
    "skip.delta=null": "skip.delta=null: field 'skip.delta' is not Optional",
    "logger.mode=on": "logger.mode=on: Invalid value 'on', expected one of [offline, online, disabled]",
    "foo[=": "foo[= cannot be read: give a text with such characters quoted twice",
    "window.tile=[3": "window.tile=[3 cannot be read",
    "window.l": "window.l has no =: write window.l=<value>;",
    "windw": "windw has no =: write windw=<value>, the nearest is window;",
    "+window.l=5": "+window.l is there already: write window.l=<value> without +",
    "~window.q": "window.q is no key, the nearest is window.",
    "window.l=3,5": "window.l=3,5 means several jobs: add -m; a list is window.l=[3,5], a text is ",
    "+experiment=smoke": "experiment is given twice: write experiment=<option> once, without +",
    "window=5": "the settings window=5 cannot be composed: Config group override must be a string or a list. Got int",
    "seed=${nothing}": "the settings seed=${nothing} cannot be composed: Interpolation key 'nothing' not found",
}


@pytest.mark.parametrize("override", CASES)
def test_python_gets_one_line(override) -> None:
    with pytest.raises(UserError) as refused:
        composed([override])
    line = str(refused.value).removeprefix(f"overrides=[{override!r}]: ")
    assert line.startswith(CASES[override]) and "\n" not in line and "HYDRA_FULL_ERROR" not in line


def test_keys_of_the_chosen_option_are_known() -> None:
    with pytest.raises(UserError, match=r"method\.blck is no key, the nearest is method\.block;"):
        composed(["method=smm", "method.blck=3"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "defaults: [override /metrics: fast]",
            "experiment/own.yaml overrides metrics below itself: its first",
        ),
        ("# @package _global_\ndefaults: [override /metrcs: fast]", "metrcs is no key, the nearest is metrics;"),
    ],
    ids=["without its first line", "a wrong group"],
)
def test_an_option_that_cannot_be_composed_is_told(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of ``conf/`` itself, which the keys that are known depend on."""
    shutil.copytree(config_folder(), tmp_path / "conf")
    (tmp_path / "conf" / "experiment" / "own.yaml").write_text(text)
    for module in ("compose_errors", "compose"):
        monkeypatch.setattr(f"fastvmt.{module}.config_folder", lambda: tmp_path / "conf")
    with pytest.raises(UserError, match=re.escape(told)):
        composed(["experiment=own"])


def test_a_folder_that_cannot_be_written_to_is_named() -> None:
    error = PermissionError(13, "Permission denied", "/full/x/.hydra")
    assert explained(error, ["output_dir=/full/x"]).startswith("output_dir=/full/x cannot be written to: Permission")
    logs = ValueError("Unable to configure handler 'file'")
    logs.__cause__ = OSError(30, "Read-only file system", "/ro/fastvmt.log")
    assert explained(logs, []) == (
        "output_dir=/ro/fastvmt.log cannot be written to: Read-only file system; set output_dir=<folder>"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["window.L=5"],
        ["output_dir={file}"],
        ["output_dir={file}/below"],
        ["seed=${{nothing}}"],
        ["seed=-1"],
        ["hydra/sweeper=basic", "experiment=table_span"],
        ["hydra.sweeper.beside=[a]", "-m", "seed=1,2"],
    ],
)
def test_the_command_ends_with_two_and_one_line(words, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    typed = [word.format(file=tmp_path / "file") for word in words]
    done = run_command(("run", *typed), tmp_path)
    assert done.code == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("fastvmt: ") and typed[0].partition("=")[0] in line
    assert {path.name for path in working_folder(tmp_path).iterdir()} <= {"outputs"}
