"""The W&B workspace of a study: scores over the papers' numbers, the trade-off, inner curves, videos."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import wandb

from fastvmt.config import WandbMode
from fastvmt.engine.wandb_content import VIDEOS, paper_axes
from fastvmt.errors import UserError, first_line
from fastvmt.results.folder import slug
from fastvmt.score.registry import entries
from fastvmt.studies.command_line import command_parser
from fastvmt.studies.quantities import RATIO
from fastvmt.studies.rows import Row, read_rows

INSTALL = 'a workspace needs wandb-workspaces: pip install "fastvmt[dashboard]"'
EXAMPLES = """
examples:
  python run.py -m window.l=3,5,7 skip.delta=1,2,3 benchmark=world logger.mode=online output_dir=outputs/windows
  python -m fastvmt.dashboard outputs/windows                # prints the workspace's address
  python -m fastvmt.dashboard outputs/windows --entity mylab
"""


def axes_of(rows: Sequence[Row]) -> list[str]:
    """List the papers' numbers in which rows differ."""
    found = [paper_axes(row.config.get("method") or {}) for row in rows]
    names = dict.fromkeys(name for axes in found for name in axes)
    return [name for name in names if len({axes.get(name) for axes in found}) > 1]


def headline_of(rows: Sequence[Row]) -> list[str]:
    """List the scores of the headline that some row has, in the order of the records."""
    headline = {entry.columns[0] for entry in entries().values() if entry.head}
    there = dict.fromkeys(score for row in rows for record in row.records for score in record.scores)
    return [score for score in there if score in headline]


def workspace(rows: Sequence[Row], entity: str, project: str, name: str) -> Any:
    """Describe the workspace of a study's rows. Raises :class:`UserError` without ``wandb-workspaces``."""
    try:
        panels: Any = import_module("wandb_workspaces.reports.v2")  # whose names no type checker finds
        ws: Any = import_module("wandb_workspaces.workspaces")
    except ImportError as error:
        raise UserError(INSTALL) from error
    scores = headline_of(rows)
    over = [panels.ScatterPlot(x=f"c::paper.{axis}", y=score) for axis in axes_of(rows) for score in scores]
    bars = [panels.BarPlot(metrics=[score]) for score in scores]
    trade = [panels.ScatterPlot(x=x, y=score) for score in scores[:1] for x in (RATIO, "loop_cpu_seconds", "gradients")]
    curves = [panels.LinePlot(x="inner/iteration", y=["inner/loss"])]
    ids = sorted({record.id for row in rows for record in row.records})[:VIDEOS]
    videos = [panels.MediaBrowser(media_keys=[f"video/{slug(id)}"], num_columns=4) for id in ids]
    parts = {"Scores": over + bars, "Fidelity and cost": trade, "Inner loss": curves, "Videos": videos}
    sections = [ws.Section(name=title, panels=found, is_open=True) for title, found in parts.items() if found]
    return ws.Workspace(entity=entity, project=project, name=name, sections=sections)


def save(folder: Path, entity: str | None) -> str:
    """Make the workspace on the server and return its address. Raises :class:`UserError`."""
    rows = read_rows([folder])
    logger = rows[0].config.get("logger") or {}
    project = str(logger.get("project", "fastvmt"))
    workspace(rows, entity or "", project, folder.name)  # what is missing here needs no server to be told
    try:
        if not wandb.login(prompt=False, verify=True):
            raise UserError("there is no API key: run `wandb login`")
        found = workspace(rows, entity or wandb.Api().default_entity or "", project, folder.name)
        return str(found.save().url)
    except UserError:
        raise
    except Exception as error:  # of HTTP, of GraphQL, of the package: there are many
        offline = logger.get("mode") != WandbMode.online.value
        upload = f"; upload the runs first: wandb sync {folder}/rows/*/wandb/offline-run-*" if offline else ""
        raise UserError(f"no server of Weights & Biases takes the workspace: {first_line(error)}{upload}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one line about what the user can mend."""
    parser = command_parser("dashboard", "Make a workspace of Weights & Biases for the runs of a study.", EXAMPLES)
    parser.add_argument("folder", type=Path, help="of a sweep")
    parser.add_argument("--entity", help="user or team (default: that of the API key)")
    arguments = parser.parse_args(argv)
    try:
        sys.stdout.write(f"workspace: {save(arguments.folder, arguments.entity)}\n")
    except (UserError, ValueError, OSError) as error:
        sys.stderr.write(f"fastvmt.dashboard: {error}\n")
        return 2
    return 0
