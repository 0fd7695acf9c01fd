"""Scripts: what a user can mend ends in one line and with code 2, results go to ``outputs/`` unless told otherwise."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from experiments.checks.fork import run_command
from experiments.command_line import MENDABLE, RESULTS, add_results, count, run
from fastvmt.errors import UserError

ROOT = Path(__file__).parents[2]
SCRIPTS = [file for file in (ROOT / "experiments").rglob("*.py") if 'if __name__ == "__main__"' in file.read_text()]


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_script_ends_by_the_rule(file: Path) -> None:
    assert 'if __name__ == "__main__":\n    command_line.run(main)\n' in file.read_text()


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) > 25


@pytest.mark.parametrize("error", [UserError("steps=0 is\nout of range"), ValueError("steps"), FileNotFoundError("/x")])
def test_a_wrong_argument_is_one_line_and_two(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run(main)
    written = capsys.readouterr().err
    assert ended.value.code == 2 and written.count("\n") == 1 and " ".join(str(error).split()) in written


def test_an_error_of_the_program_keeps_its_traceback() -> None:
    assert not issubclass(KeyError, MENDABLE)

    def main() -> None:
        raise KeyError("row")

    with pytest.raises(KeyError):
        run(main)


@pytest.mark.parametrize("code", [None, 0, 1])
def test_the_code_is_what_main_returns(code: int | None) -> None:
    with pytest.raises(SystemExit) as ended:
        run(lambda: code)
    assert ended.value.code == code


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", ""])
def test_a_count_is_a_whole_number_from_one(text: str) -> None:
    assert count("1") == 1
    with pytest.raises(argparse.ArgumentTypeError, match="is out of range: it must be a whole number from 1"):
        count(text)


def test_results_are_committed_only_when_told(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_results(parser)
    assert parser.parse_args([]).results == Path("outputs")
    assert parser.parse_args(["--results", f"{tmp_path}/here"]).results == tmp_path / "here"
    assert (tmp_path / "here").is_dir()
    assert parser.parse_args(["--commit"]).results == RESULTS
    with pytest.raises(SystemExit):
        parser.parse_args(["--commit", "--results", f"{tmp_path}/here"])


def test_results_that_cannot_be_written_are_told_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_results(parser)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        parser.parse_args(["--results", f"{tmp_path}/file/here"])
    assert "cannot be made: Not a directory" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["experiments.speed", "frames", "--model", "tiny", "--frames", "10"], "backbone.frames=10 must be 4 k + 1"),
        (["experiments.tiny_wan.vae", "nokey=3"], "Could not override 'nokey'"),
    ],
)
def test_settings_that_cannot_be_end_in_one_line(words: list[str], told: str, tmp_path: Path) -> None:
    done = run_command(words, tmp_path)
    assert done.code == 2 and told in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
