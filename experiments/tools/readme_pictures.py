"""The pictures of the README: ``python -m experiments.tools.readme_pictures <none> <fastvmt> --cases 0 5``.

Both arguments are output folders of runs over the same benchmark.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments import command_line
from fastvmt.data.video import read_video
from fastvmt.results.case_record import CaseRecord
from fastvmt.results.folder import RunFolder

SIDE = 120
GAP = 6
Frames = NDArray[np.uint8]


def frames_of(file: Path) -> Frames:
    """Frames (T, SIDE, SIDE, 3)."""
    frames = read_video(file).frames_THWC.numpy()
    return np.stack([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in frames])


def labelled(image: Frames, text: str, width: int = 150) -> Frames:
    """``image`` with a white margin on its left that carries ``text``."""
    margin = np.full((image.shape[0], width, 3), 255, np.uint8)
    for i, line in enumerate(text.split("\n")):
        at = (8, image.shape[0] // 2 - 8 + 20 * i)
        cv2.putText(margin, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([margin, image], 1)


def case_rows(folders: list[Path], case: CaseRecord) -> list[tuple[str, Frames]]:
    """Label and frames of the reference and of each run."""
    runs = [RunFolder(folder).case(case.id) for folder in folders]
    words = case.prompt.replace(" on ", "\non ")
    shown = case.reference.replace(" on ", "\non ")
    rows = [(f"reference:\n{shown}", frames_of(runs[0].reference))]
    labels = [f"no transfer:\n{words}", f"FastVMT:\n{words}"]
    return rows + [(label, frames_of(run.generated)) for label, run in zip(labels, runs, strict=True)]


def strip(rows: list[tuple[str, Frames]], moments: Sequence[int]) -> Frames:
    """Rows of labelled frames (T, S, S, 3) at ``moments``."""
    gap = np.full((rows[0][1].shape[1], GAP, 3), 255, np.uint8)
    lines = []
    for label, frames in rows:
        cells = [part for t in moments for part in (frames[t], gap)]
        lines.append(labelled(np.concatenate(cells, 1), label))
        lines.append(np.full((GAP, lines[0].shape[1], 3), 255, np.uint8))
    return np.concatenate(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("none", type=Path)
    parser.add_argument("fastvmt", type=Path)
    parser.add_argument("--cases", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    folders = [arguments.none, arguments.fastvmt]
    records = RunFolder(arguments.fastvmt).records()
    chosen = [case_rows(folders, records[i]) for i in arguments.cases]
    arguments.folder.mkdir(exist_ok=True)
    image = np.concatenate([strip(rows, [0, 2, 4, 6, 8]) for rows in chosen])
    Image.fromarray(image).save(arguments.folder / "strip.png", optimize=True)
    moments = range(chosen[0][0][1].shape[0])
    moving = [np.concatenate([np.concatenate([f[t] for _, f in rows], 1) for rows in chosen]) for t in moments]
    images = [Image.fromarray(frame) for frame in moving]
    images[0].save(
        arguments.folder / "demo.gif", save_all=True, append_images=images[1:], duration=125, loop=0, optimize=True
    )


if __name__ == "__main__":
    command_line.run(main)
