"""Folders of runs: where the files of a run and of its cases are, and reading them back.

``<run>/result.json`` holds the run, ``<run>/cases/<case>/case.json`` is written last of a case's files and marks it
finished.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastvmt.files import read_json
from fastvmt.results.case_record import VERSION, CaseRecord, Identity

log = logging.getLogger(__name__)


def slug(name: str) -> str:
    """Make a folder name that cannot leave its parent."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "case"


@dataclass(frozen=True)
class CaseFolder:
    """The files of one case."""

    path: Path

    @property
    def record(self) -> Path:
        """Written last."""
        return self.path / "case.json"

    @property
    def reference(self) -> Path:
        """The reference as the model saw it."""
        return self.path / "reference.mp4"

    @property
    def generated(self) -> Path:
        """What was made."""
        return self.path / "generated.mp4"

    @property
    def side_by_side(self) -> Path:
        """Both beside each other."""
        return self.path / "side_by_side.mp4"

    @property
    def lossless(self) -> Path:
        """What was made, in its own size without loss; there with ``lossless=true``."""
        return self.path / "generated_lossless.mp4"

    @property
    def lossless_reference(self) -> Path:
        """The reference likewise."""
        return self.path / "reference_lossless.mp4"

    @property
    def motion(self) -> Path:
        """A picture of both motion fields."""
        return self.path / "motion.png"

    @property
    def trace(self) -> Path:
        """The inner optimisation, a row per iteration."""
        return self.path / "trace.csv"

    @property
    def learned(self) -> Path:
        """What the method learned; there if it learned something."""
        return self.path / "learned.safetensors"

    def read(self) -> CaseRecord | None:
        """Read the record; None where there is none of this version.

        A damaged one is set aside as ``case.json.damaged``.
        """
        if not self.record.is_file():
            return None
        try:
            content = read_json(self.record)
            if isinstance(content, dict) and content.get("version") != VERSION:
                return None
            return CaseRecord.from_json(content)
        except ValueError as error:
            aside = self.record.with_name(f"{self.record.name}.damaged")
            os.replace(self.record, aside)
            why = str(error).removeprefix(f"{self.record} is damaged: ")
            log.warning(f"{self.record} is damaged ({why}): kept as {aside.name}, the case is not finished")
            return None

    def finished(self, identity: Identity) -> CaseRecord | None:
        """Read the record of a case that an earlier run completed as it is asked for now."""
        record = self.read()
        return record if record is not None and record.identity == identity else None


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def result(self) -> Path:
        """Means, all cases, and where they came from; written when all are through."""
        return self.path / "result.json"

    @property
    def config(self) -> Path:
        """The composed configuration."""
        return self.path / "config.yaml"

    def case(self, case_id: str) -> CaseFolder:
        """Give the folder of a case."""
        return CaseFolder(self.path / "cases" / slug(case_id))

    def finished(self) -> list[CaseRecord]:
        """Read the records of all finished cases, of a run that may still be going on."""
        folders = (CaseFolder(path) for path in sorted((self.path / "cases").glob("*")) if path.is_dir())
        return [record for folder in folders if (record := folder.read()) is not None]

    def content(self) -> dict[str, Any]:
        """Read ``result.json``. Raises ``ValueError``, naming the file, for a damaged one or another version."""
        content = read_json(self.result)
        found = content.get("version") if isinstance(content, dict) else None
        if found != VERSION:
            raise ValueError(f"{self.result} is of version {found}, not {VERSION}: run it again with this program")
        return dict(content)

    def records(self) -> list[CaseRecord]:
        """Read the records of a run that is through. Raises as :meth:`content`."""
        try:
            return [CaseRecord.from_json(case) for case in self.content()["cases"]]
        except (KeyError, ValueError) as error:
            raise ValueError(f"{self.result}: {error}") from error
