"""The notebook runs from top to bottom, here with fewer steps."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_transfer_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of its kernel: several threads wait by spinning on a busy machine
    notebook = nbformat.read(ROOT / "notebooks" / "transfer.ipynb", as_version=4)
    (first,) = (cell for cell in notebook.cells if "OVERRIDES = [" in cell.source)
    first.source = first.source.replace("OVERRIDES = [", 'OVERRIDES = ["sampler.steps=3", ')
    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(ROOT)}}).execute()
    figures = [output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in str(output)]
    assert len(figures) == 3
