"""What pip-audit says, or that it could say nothing, is written down with its date."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from experiments.checks.audit import main

ANSWER = {
    "dependencies": [
        {"name": "good", "version": "1.0", "vulns": []},
        {"name": "bad", "version": "2.0", "vulns": [{"id": "X-1", "fix_versions": ["2.1"]}]},
        {"name": "own", "skip_reason": "not on the index"},
    ]
}
LEFT_OUT = {"dependencies": ANSWER["dependencies"][2:]}


def interpreter(folder: Path, code: str) -> str:
    """A program in the place of an interpreter with pip-audit."""
    file = folder / "python"
    file.write_text(f"#!{sys.executable}\n{code}\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize(
    ("code", "ends", "written"),
    [
        (f"print({json.dumps(json.dumps(ANSWER))}); raise SystemExit(1)", 1, {"answered": True}),
        (f"print({json.dumps(json.dumps(LEFT_OUT))})", 2, {"answered": False}),
        ("raise SystemExit('no route to the database')", 2, {"answered": False, "reason": "no route to the database"}),
    ],
)
def test_every_answer_is_written(code: str, ends: int, written: dict, tmp_path: Path) -> None:
    assert main(["--python", interpreter(tmp_path, code), "--results", str(tmp_path)]) == ends
    content = json.loads((tmp_path / "audit.json").read_text())
    assert written.items() <= content.items() and content["date"].startswith("20")
    if ends == 1:
        assert content["holes"] == {"bad": ANSWER["dependencies"][1]["vulns"]}
        assert content["packages"] == {"good": "1.0", "bad": "2.0"}
        assert content["left_out"] == {"own": "not on the index"}
