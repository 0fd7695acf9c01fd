"""Hydra's schema and the folder of yaml files. Imports no torch, so that ``--help`` is instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from fastvmt import sweep
from fastvmt.settings import Guidance, Sampler, Skip, Window
from fastvmt.versions import register_resolver


def config_folder() -> Path:
    """``conf/`` inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return next(folder for folder in (package / "conf", package.parent / "conf") if folder.is_dir())


def in_sweep() -> bool:
    """Whether this is a job of a multirun."""
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


class WandbMode(str, Enum):
    """Where Weights & Biases runs go."""

    offline = "offline"
    online = "online"
    disabled = "disabled"


class Accelerator(str, Enum):
    """What Lightning runs on."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


class Rerun(str, Enum):
    """Which cases to generate although they are there."""

    missing = "missing"
    """None of them."""
    failed = "failed"
    """Those that diverged."""
    all = "all"


class OnDiverged(str, Enum):
    """What to do about a case whose numbers leave their range."""

    record = "record"
    """Record it as diverged and go on with the next."""
    stop = "stop"


@dataclass
class Logger:
    """Weights & Biases."""

    mode: WandbMode = WandbMode.offline
    project: str = "fastvmt"
    group: str | None = None
    """None is the sweep's folder."""


@dataclass
class Trainer:
    """Of lightning.Trainer."""

    accelerator: Accelerator = Accelerator.auto
    devices: Any = 1
    """Count or list."""
    num_nodes: int = 1
    strategy: str = "auto"
    limit_test_batches: Any = None
    """Cases of each process, as a count or a share; None is all."""
    profiler: str | None = None
    max_time: str | None = None
    """DD:HH:MM:SS after which no further case begins."""
    callbacks: Any = field(default_factory=list)
    """Nodes that name classes of the user's."""
    precision: Any = None
    """Always None: it is the backbone's."""


@dataclass
class Provenance:
    """What files of generated videos carry beside their tags; all are paths of files, none by default."""

    certificate: str | None = None
    """PEM chain that signs a C2PA manifest."""
    private_key: str | None = None
    """PEM, of the certificate."""
    watermark: str | None = None
    """A file with the secret of an invisible watermark."""


@dataclass
class Table:
    """What the table of a sweep shows, which ``python -m fastvmt.table`` reads from its rows' configurations."""

    question: str = ""
    base: dict[str, Any] = field(default_factory=dict)
    """The row that others are compared with, by what it sweeps; none is the first."""
    columns: list[str] = field(default_factory=list)
    """Scores and costs; empty: all that the rows have."""
    grid: list[str] = field(default_factory=list)
    """Two swept keys: rows and columns of a second table of one score."""
    score: str = "motion_fidelity"
    """That of the grid."""
    parts: dict[str, Any] = field(default_factory=dict)
    """Lists of words by name: a second table has the scores of the cases apart whose references' names hold one of
    them; an empty list stands for the other cases."""
    published: str | None = None
    """A table of published numbers, shown apart."""
    claims: list[str] = field(default_factory=list)
    """Inequalities of means, such as ``motion_fidelity[3] - motion_fidelity[1] > -0.02``."""


@dataclass
class Config:
    """One run. Groups of numbers are typed here; groups of code carry ``_target_``."""

    video: str | None = None
    """The user's own reference clip; None takes the cases from ``benchmark``."""
    prompt: str | None = None
    negative_prompt: str = ""
    reference_prompt: str | None = None
    """What ``video`` shows; None is the empty caption."""
    fps: float | None = None
    """Frames per second at which ``video`` is sampled; None takes every frame."""
    start: int = 0
    """First frame of ``video``."""
    frame_policy: str = "error"
    """What to do when ``video`` is too short: error or pad_last."""
    cut_policy: str = "error"
    """What to do about a cut between shots: error, first_shot or ignore."""
    seed: int = 0
    seeds: list[int] | None = None
    """Several seeds per case, instead of ``seed``: cases are named ``.../s<seed>``, tables average within."""
    output_dir: str = "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}"
    cache_dir: str | None = "outputs/cache"
    """Where the reference's quantities are kept between runs; null keeps nothing."""
    lossless: bool = False
    """Also write each generated video and its reference in their own size without loss, for tools that measure."""
    overwrite: bool = False
    """Replace finished cases of other settings in ``output_dir``."""
    rerun: Rerun = Rerun.missing
    on_diverged: OnDiverged = OnDiverged.record
    dry: bool = False
    """Validate and print what would run; load no weights."""
    plan: bool = False
    """Print what the run would cost, after a short calibration on the loaded model; transfer nothing."""
    device: str = "auto"
    checkpoint_steps: int | None = None
    """Denoising steps between two states of a case in progress, from which a stopped run goes on; None keeps none."""
    threads: int | None = None
    """CPU threads of torch and OpenCV while something runs; None: the physical cores, see fastvmt/threads.py."""
    objective: Any = "motion_fidelity"
    """The score that a search optimises, or a list of them; beside scores ``loop_ratio``, over the plain loop."""
    swept: list[str] = field(default_factory=list)
    """Keys that the command line sweeps; the command sets it, and rows are named by it."""
    table: Table = field(default_factory=Table)
    row: Any = None
    backbone: Any = None
    method: Any = None
    window: Window = field(default_factory=Window)
    skip: Skip = field(default_factory=Skip)
    guidance: Guidance = field(default_factory=Guidance)
    sampler: Sampler = field(default_factory=Sampler)
    metrics: Any = None
    tracker: Any = None
    benchmark: Any = None
    logger: Logger = field(default_factory=Logger)
    trainer: Trainer = field(default_factory=Trainer)
    provenance: Provenance = field(default_factory=Provenance)


def objectives(cfg: Mapping[str, Any]) -> list[str]:
    """List what a search optimises."""
    return [cfg["objective"]] if isinstance(cfg["objective"], str) else list(cfg["objective"])


def gpus() -> int:
    """How many GPUs are in sight, at least 1: the jobs at a time of ``hydra/launcher=gpus``."""
    import torch  # takes seconds, and only that launcher asks

    return max(1, torch.cuda.device_count())


def register() -> None:
    """Put the schema where ``conf/config.yaml`` finds it, and what its yaml files call."""
    ConfigStore.instance().store(name="schema", node=Config)
    register_resolver("gpus", gpus)
    sweep.register()


register()
