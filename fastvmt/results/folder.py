"""Folders of runs: where the files of a run and of its cases are, and reading them back.

``<run>/result.json`` holds the run, ``<run>/cases/<case>/case.json`` is written last of a case's files and marks it
finished.
"""

from __future__ import annotations

import csv
import logging
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastvmt.files import file_sha256, is_plain, read_json
from fastvmt.results.case_record import VERSION, CaseRecord, Identity
from fastvmt.results.events import asked, read_events

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

    def read_trace(self) -> list[dict[str, float]]:
        """Read the inner optimisation, a row per iteration with what it has. Raises ``ValueError`` if it is damaged."""
        try:
            with self.trace.open(encoding="utf-8", newline="") as stream:
                return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)]
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self.trace} is damaged: {error}") from error

    @property
    def learned(self) -> Path:
        """What the method learned; there if it learned something."""
        return self.path / "learned.safetensors"

    @property
    def state(self) -> Path:
        """Where a case in progress stands; there with ``checkpoint_steps``, until it is finished."""
        return self.path / "state.safetensors"

    def read(self) -> CaseRecord | None:
        """Read the record; None where there is none of this version.

        A damaged one is set aside as ``case.json.damaged``.
        """
        if not is_plain(self.record):
            return None
        try:
            content = read_json(self.record)
            if other_version(content) is not None:
                return None
            return CaseRecord.from_json(content)
        except FileNotFoundError:  # another process makes the case anew
            return None
        except ValueError as error:
            aside = self.record.with_name(f"{self.record.name}.damaged")
            with suppress(FileNotFoundError):  # another process has done so
                os.replace(self.record, aside)
            why = str(error).removeprefix(f"{self.record} is damaged: ")
            log.warning(f"{self.record} is damaged ({why}): kept as {aside.name}, the case is not finished")
            return None

    def products(self) -> list[Path]:
        """List what a finished case may have beside its record."""
        videos = (self.reference, self.generated, self.side_by_side, self.lossless, self.lossless_reference)
        return [*videos, self.motion, self.trace, self.learned]

    def clear(self) -> None:
        """Remove what is there of an earlier result: its files may be links, which are not to be written to."""
        for file in self.products():
            file.unlink(missing_ok=True)

    def hashes(self) -> dict[str, str]:
        """Hash the files that are there, by name."""
        return {file.name: digest for file in self.products() if (digest := hash_of(file)) is not None}

    def in_the_way(self) -> list[Path]:
        """List what stands where a file of the case belongs and is none."""
        return [file for file in (*self.products(), self.record) if os.path.lexists(file) and not is_plain(file)]

    def differing(self, record: CaseRecord) -> str | None:
        """Tell which file of a finished case is missing, or is not what its record says; None if all are right."""
        for name, digest in record.files.items():
            file = self.path / slug(name)
            found = hash_of(file)
            if found is None:
                return f"{file} is missing"
            if found != digest:
                return f"{file} is not what was written"
        return None

    def finished(self, identity: Identity, *, lossless: bool = False) -> CaseRecord | None:
        """Read the record of a case that an earlier run completed as it is asked for now, with all its files."""
        record = self.read()
        if record is None or record.identity != identity:
            return None
        missing = lossless and record.diverged is None and self.lossless.name not in record.files
        if problem := f"{self.lossless} is missing" if missing else self.differing(record):
            log.warning("%s: the case is not finished", problem)
            return None
        return record


def hash_of(file: Path) -> str | None:
    """Hash a plain file with SHA-256; None where none is, as when another process makes the case anew."""
    try:
        return file_sha256(file) if is_plain(file) else None
    except FileNotFoundError:
        return None


def other_version(content: Any) -> int | None:
    """Tell the version of a record of another version of the program; None for this one's and damaged ones."""
    version = content.get("version") if isinstance(content, dict) else None
    return version if type(version) is int and version != VERSION else None


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

    @property
    def asked(self) -> int | None:
        """How many cases the latest start had; None where no event tells."""
        return asked(read_events(self.path))

    def case(self, case_id: str) -> CaseFolder:
        """Give the folder of a case."""
        return CaseFolder(self.path / "cases" / slug(case_id))

    def cases(self) -> list[CaseFolder]:
        """List the folders of cases that are there, finished or not."""
        return [CaseFolder(path) for path in sorted((self.path / "cases").glob("*")) if path.is_dir()]

    def in_the_way(self) -> list[Path]:
        """List what stands where a file of the run or of its cases belongs and is none."""
        own = [file for file in (self.result, self.config) if os.path.lexists(file) and not is_plain(file)]
        cases = self.path / "cases"
        blocked = [cases] if os.path.lexists(cases) and not cases.is_dir() else []
        return [*own, *blocked, *(file for folder in self.cases() for file in folder.in_the_way())]

    def finished(self) -> list[CaseRecord]:
        """Read the records of all finished cases, of a run that may still be going on.

        A case whose files are missing or differ from their hashes is none of them, which the log tells.
        """
        found = []
        for folder in self.cases():
            if (record := folder.read()) is not None:
                if problem := folder.differing(record):
                    log.warning("%s: the case is left out", problem)
                else:
                    found.append(record)
        return found

    def content(self) -> dict[str, Any]:
        """Read ``result.json``. Raises ``ValueError``, naming the file, for a damaged one or another version."""
        content = read_json(self.result)
        found = content.get("version") if isinstance(content, dict) else None
        if found != VERSION or type(found) is not int:
            raise ValueError(f"{self.result} is of version {found}, not {VERSION}: run it again with this program")
        return dict(content)

    def records(self) -> list[CaseRecord]:
        """Read the records of a run that is through. Raises as :meth:`content`."""
        cases = self.content().get("cases")
        if not isinstance(cases, list):
            raise ValueError(f"{self.result}: cases is {cases!r}, not an array")
        try:
            return [CaseRecord.from_json(case) for case in cases]
        except (KeyError, ValueError) as error:
            raise ValueError(f"{self.result}: {error}") from error
