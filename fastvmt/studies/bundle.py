"""A study as one file that others can check: records and configurations, and the tables that they make."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from fastvmt.errors import UserError
from fastvmt.files import read_json, replacing, write_json
from fastvmt.results.folder import CaseFolder, RunFolder
from fastvmt.studies.rows import runs_of
from fastvmt.studies.table_command import make_table

MADE_HERE = ("output_dir", "cache_dir")
"""Keys whose folders mean nothing elsewhere: they are left out."""
ABSOLUTE = re.compile(r"(file://|(?<![\w./~]))~?/(?:[^/\s'\",\]}]+/)*([^/\s'\",\]}]+)/?")
"""An absolute path among other words, or its address, and its last name."""
QUOTED = re.compile(r"""(?P<quote>['"])(?P<scheme>(?:file://)?)~?(?P<path>/(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)""")
"""The same in quotes, where names may have blanks."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in a bundle: the same study gives the same bytes."""


def bundle(study: Path, output: Path, *, videos: bool = False) -> int:
    """Write the finished rows of a study into a zip file; returns how many files it has.

    Of absolute paths only the last names stay, and the tables are made from what the file holds: unzipped anywhere,
    ``python -m fastvmt.table`` makes the same bytes again. Raises :class:`UserError` without a finished run, and
    ``ValueError`` for files that cannot be read.
    """
    runs = runs_of(study)
    if not runs:
        raise UserError(f"{study} holds no finished run: no result.json there, in rows/ or in a folder below it")
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder, "study")
        for run in runs:
            pack_run(RunFolder(run), RunFolder(inside / run.relative_to(study)), videos=videos)
        if (study / "timings.json").is_file():
            write_json(inside / "timings.json", portable(read_json(study / "timings.json")))
        make_table([inside], None, inside)
        files = sorted(file for file in inside.rglob("*") if file.is_file())
        with replacing(output) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as packed:
            for file in files:
                entry = zipfile.ZipInfo(f"{study.resolve().name}/{file.relative_to(inside).as_posix()}", EPOCH)
                entry.external_attr = 0o644 << 16
                packed.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return len(files)


def pack_run(run: RunFolder, target: RunFolder, *, videos: bool) -> None:
    """Copy a run's records and configuration, with ``videos`` its cases' other files too."""
    content = portable(run.content())
    write_json(target.result, content)
    target.config.write_text(yaml.safe_dump(content["config"], sort_keys=False, allow_unicode=True), encoding="utf-8")
    for record in run.records():
        folder = target.case(record.id)
        write_json(folder.record, record.to_json())
        if videos:
            pack_files(run.case(record.id), folder)


def pack_files(case: CaseFolder, target: CaseFolder) -> None:
    """Copy what a case's folder holds beside its record."""
    for file, place in zip(case.products(), target.products(), strict=True):
        if file.is_file():
            shutil.copyfile(file, place)


def portable(value: Any, key: str = "") -> Any:
    """Give plain values without absolute paths; cases stay as they are, for their checksums."""
    if isinstance(value, Mapping):
        return {name: portable(item, name) for name, item in value.items() if name not in MADE_HERE}
    if isinstance(value, list):
        if key == "cases":
            return value
        return [portable(item) for item in value if str(item).lstrip("+").partition("=")[0] not in MADE_HERE]
    if not isinstance(value, str):
        return value
    if value.startswith(("/", "~/")):
        return PurePosixPath(value).name
    name, equals, path = value.partition("=")
    if equals and re.fullmatch(r"[+~]*[\w./@]+", name) and path.startswith(("/", "~/")):
        return f"{name}={PurePosixPath(path).name}"
    return ABSOLUTE.sub(r"\1\2", QUOTED.sub(last_name, value))


def last_name(found: re.Match[str]) -> str:
    """Write a path in quotes as its last name in them."""
    return f"{found['quote']}{found['scheme']}{PurePosixPath(found['path']).name}{found['quote']}"
