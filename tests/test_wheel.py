"""The built wheel holds what a run needs, and its command works from any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
GRID = ("-m", "seed=1,2", "hydra/sweeper=grid", "hydra.sweeper.beside=['row=none']")
"""Of the sweeper that Hydra finds beside the package."""
FOLDERS = ("fastvmt", "hydra_plugins", "conf")
"""What the wheel holds of the checkout."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's contents, as an installer would unpack them."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = next(WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"]))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_wheel_holds_code_configuration_weights_and_licences(installed):
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: the list of files to compare with is missing")
    listed = ["ls-files", "--cached", "--others", "--exclude-standard", *FOLDERS]
    command = ["git", "-c", "safe.directory=*", *listed]  # whoever owns the checkout
    kept = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    wanted = {f"fastvmt/{f}" if f.startswith("conf/") else f for f in kept if (ROOT / f).exists()}
    found = (p for name in ("fastvmt", "hydra_plugins") for p in (installed / name).rglob("*") if p.is_file())
    packed = {p.relative_to(installed).as_posix() for p in found}
    assert packed == wanted
    (info,) = installed.glob("*.dist-info")
    assert "fastvmt = fastvmt.main:main" in (info / "entry_points.txt").read_text()
    assert {p.relative_to(info / "licenses").as_posix() for p in (info / "licenses").rglob("*") if p.is_file()} == {
        "LICENSE",
        "fastvmt/world/sprites/LICENSE",
    }


@pytest.mark.slow
def test_command_of_the_wheel_validates_a_run_from_any_folder(installed, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); sys.argv[0] = 'fastvmt'; "
        "import fastvmt.main; print(fastvmt.main.__file__); fastvmt.main.main()"
    )
    (tmp_path / "own" / "experiment").mkdir(parents=True)  # the user's own yaml files
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text("# @package _global_\nsampler: {steps: 7}\n")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "dry=true",
            f"hydra.searchpath=[file://{tmp_path / 'own'}]",
            "experiment=mine",
            *GRID,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert (done.returncode, done.stderr) == (0, "")  # no library warns of anything
    assert done.stdout.startswith(str(installed / "fastvmt"))
    assert done.stdout.count("dry run: valid") == done.stdout.count("7 steps") == 3
