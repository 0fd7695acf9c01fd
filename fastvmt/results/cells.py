"""Generated videos by what they were made from: no run makes one twice.

A cell is a case's folder below the cache, under the hash of everything that its video depends on. Runs have its files
as links, so that a run's folder is whole by itself. Scores that a run lacks are computed from the cell's exact pixels
and kept beside them, a line each, with its checksum.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock

from fastvmt.files import alive, finite, is_plain, write_json
from fastvmt.results.case_record import CaseRecord, checksum
from fastvmt.results.folder import CaseFolder
from fastvmt.results.schema import decoded

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredScore:
    """The columns of one score of a cell."""

    version: int
    judge: str
    values: dict[str, float]
    notes: dict[str, str]
    """By missing column, the reason."""


@dataclass(frozen=True)
class LaterScore:
    """A line of the scores that were computed after a cell was made."""

    score: str
    version: int
    judge: str
    values: dict[str, float]
    notes: dict[str, str]
    checksum: str
    """SHA-256 of everything else in the line, and of the cell's key."""

    @classmethod
    def from_json(cls, text: bytes, cell: str) -> LaterScore:
        """Read a line of a cell. Raises ``ValueError`` for one that is not as it was written there."""
        content = json.loads(text)
        line: LaterScore = decoded(cls, content)
        if line.checksum != checksum(content | {"cell": cell}):
            raise ValueError("its checksum differs")
        return line


@dataclass(frozen=True)
class Cell:
    """A video that was made, and its record by whoever made it."""

    folder: CaseFolder
    record: CaseRecord

    @property
    def later(self) -> Path:
        """Scores that were computed after it was made."""
        return self.folder.path / "scores.jsonl"

    def scores(self, columns: Mapping[str, Sequence[str]]) -> dict[str, list[StoredScore]]:
        """Give what is known of the scores whose columns ``columns`` lists by name; of each the latest last."""
        found: dict[str, list[StoredScore]] = {}
        record = self.record
        for name, version in record.score_versions.items():
            if name in columns:
                values = {column: record.scores[column] for column in columns[name] if column in record.scores}
                notes = {column: record.notes[column] for column in values if column in record.notes}
                found[name] = [StoredScore(version, record.judges[name], values, notes)]
        for line in (line for line in self.lines() if line.score in columns):
            score = StoredScore(line.version, line.judge, line.values, line.notes)
            found.setdefault(line.score, []).append(score)
        return found

    def lines(self) -> list[LaterScore]:
        """Read the later scores; lines that are not as they were written are passed over, and told."""
        if not is_plain(self.later):
            return []
        read = []
        for number, text in enumerate(self.later.read_bytes().split(b"\n"), start=1):
            if not text.strip():
                continue
            try:
                read.append(LaterScore.from_json(text, self.folder.path.name))
            except (ValueError, RecursionError) as error:
                log.warning("%s: line %d is passed over, its score computed again: %s", self.later, number, error)
        return read

    def keep(self, name: str, score: StoredScore) -> None:
        """Add a score."""
        line = {"score": name} | asdict(score)
        sealed = line | {"checksum": checksum(line | {"cell": self.folder.path.name})}
        text = json.dumps(finite(sealed), allow_nan=False)
        with FileLock(f"{self.later}.lock"), self.later.open("a", encoding="utf-8") as stream:
            stream.write(f"\n{text}\n")  # a line of its own, whatever a stopped process left


class Cells:
    """The cells in a folder, or none where ``folder`` is None."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.told = False

    def at(self, key: str) -> CaseFolder | None:
        """Tell where the cell of a key is, if there is any place for it."""
        return None if self.folder is None else CaseFolder(self.folder / key[:2] / key)

    def find(self, key: str) -> Cell | None:
        """Give the cell of a key; a damaged one counts as none, with a line in the log."""
        folder = self.at(key)
        record = None if folder is None else folder.read()
        if folder is None or record is None:
            return None
        if problem := folder.differing(record):
            log.warning("%s: made anew", problem)
            return None
        return Cell(folder, record)

    def keep(self, key: str, source: CaseFolder, record: CaseRecord, complete: Callable[[CaseFolder], None]) -> None:
        """Link a finished case's files into the cell of its key, to which ``complete`` adds others.

        Where they cannot be kept, that is told once.
        """
        folder = self.at(key)
        if folder is None:
            return
        partial = CaseFolder(folder.path.with_name(f".{key}.{socket.gethostname()}.{os.getpid()}"))
        try:
            remove_left(folder)
            shutil.rmtree(partial.path, ignore_errors=True)
            link_files(source, partial)
            complete(partial)
            write_json(partial.record, replace(record, files=partial.hashes()).to_json())
            shutil.rmtree(folder.path, ignore_errors=True)
            os.replace(partial.path, folder.path)
        except OSError as error:
            shutil.rmtree(partial.path, ignore_errors=True)
            if self.find(key) is None:  # or else another process was sooner
                self._cannot_write(error)

    def _cannot_write(self, error: OSError) -> None:
        if not self.told:
            self.told = True
            log.warning(
                "cache_dir: %s cannot be written to (%s): videos are not kept for other runs", self.folder, error
            )


def remove_left(folder: CaseFolder) -> None:
    """Remove what killed processes of this machine left beside a cell while they kept one."""
    mine = re.compile(rf"\.[0-9a-f]+\.{re.escape(socket.gethostname())}\.(\d+)")
    for left in folder.path.parent.glob(".*"):
        if (match := mine.fullmatch(left.name)) and not alive(int(match[1])):
            shutil.rmtree(left, ignore_errors=True)


def link_files(source: CaseFolder, target: CaseFolder, but: Sequence[Path] = ()) -> None:
    """Make ``target`` hold the files of ``source``, but for some of its own: as links, or copies where none can be."""
    target.path.mkdir(parents=True, exist_ok=True)
    for file, place in zip(source.products(), target.products(), strict=True):
        if place in but or not is_plain(file):
            continue
        partial = place.with_name(f"{place.name}.{os.getpid()}.link")
        partial.unlink(missing_ok=True)
        try:
            os.link(file, partial)
        except FileNotFoundError:  # another process makes the cell anew
            continue
        except OSError:  # another disk, or one without links
            shutil.copyfile(file, partial)
        os.replace(partial, place)
