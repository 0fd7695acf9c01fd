"""The page's script, in Node where there is one: its syntax, and the functions that need no browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import fastvmt.studies.report

SCRIPT = Path(fastvmt.studies.report.__path__[0]) / "page.js"
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_the_script_does_what_it_says() -> None:
    code = """
    require("vm").runInThisContext(require("fs").readFileSync(process.argv[1], "utf8"));
    const sorted = (values, down) => [...values].sort((a, b) => order(a, b, down));
    console.log(JSON.stringify([
      sorted(["10", "", "9", "-1.5"], false), sorted(["10", "", "9", "-1.5"], true), sorted(["l=11", "l=3"], false),
      [0, 0.124, 0.125, 1.0, 1.125, 1.25].map((time) => frameAt(time, 9, 8)),
      [0, 1.0, 1.125, 2.5].map((time) => placeAt(time, 9, 8)),
      differences({ a: ["1", "2", "1"], b: ["x", "x", "y"] }, "0", "2"),
    ]));
    """
    done = subprocess.run([NODE or "", "-e", code, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        ["-1.5", "9", "10", ""],
        ["10", "9", "-1.5", ""],
        ["l=3", "l=11"],
        [0, 0, 1, 8, 0, 1],
        [0, 1.0, 0, 0.25],
        [["b", "x", "y"]],
    ]
