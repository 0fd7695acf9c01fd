"""Which generated clip belongs to which reference and prompt: from names, or from a list."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastvmt.data.frame_folder import is_frame_folder

VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif")
LISTS = (".csv", ".jsonl")


@dataclass(frozen=True)
class Triple:
    """A generated clip with what it was made from."""

    id: str
    generated: Path
    reference: Path
    prompt: str = ""


def read_rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a CSV file with a header, or of a JSONL file, that have all of ``columns``.

    Raises ``FileNotFoundError`` for a missing file and ``ValueError`` naming the line that is wrong.
    """
    if not path.is_file():
        raise FileNotFoundError(f"list {str(path)!r} does not exist")
    if path.suffix.lower() not in LISTS:
        raise ValueError(f"list {str(path)!r} must be a {' or '.join(LISTS)} file")
    rows: list[tuple[int, Any]] = []
    with path.open(newline="", encoding="utf-8") as stream:
        if path.suffix.lower() == ".csv":
            reader = csv.DictReader(stream)
            rows = [(reader.line_num, row) for row in reader]
        else:
            for number, line in enumerate(stream, 1):
                try:
                    rows += [(number, json.loads(line))] if line.strip() else []
                except json.JSONDecodeError as error:
                    raise ValueError(f"{path.name}, line {number} is not JSON: {error}") from None
    for number, row in rows:
        missing = [column for column in columns if not isinstance(row, Mapping) or not isinstance(row.get(column), str)]
        if missing:
            raise ValueError(f"{path.name}, line {number} lacks {', '.join(missing)}; it needs {', '.join(columns)}")
    if not rows:
        raise ValueError(f"list {str(path)!r} is empty")
    return [row for _, row in rows]


def listed(path: Path) -> list[Triple]:
    """Triples of a list with the columns generated, reference, prompt and, optionally, id.

    Paths are relative to the list; ids default to the generated file's name.
    """
    triples = []
    for row in read_rows(path, ("generated", "reference", "prompt")):
        generated, reference = (path.parent / row[key] for key in ("generated", "reference"))
        triples.append(Triple(row.get("id") or generated.stem, generated, reference, row["prompt"]))
    return checked(triples)


def read_prompts(path: Path) -> dict[str, str]:
    """Prompts by clip name, from a list with the columns name and prompt."""
    return {row["name"]: row["prompt"] for row in read_rows(path, ("name", "prompt"))}


def clips_in(folder: Path) -> dict[str, Path]:
    """Videos and frame folders directly in a folder, by name without suffix."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in VIDEOS and not is_frame_folder(path):
            continue
        if path.stem in found:
            raise ValueError(f"{str(path)!r} and {str(found[path.stem])!r} have the same name")
        found[path.stem] = path
    return found


def matched(
    generated: Path, reference: Path, prompts: Mapping[str, str], prompt: str
) -> tuple[list[Triple], list[str]]:
    """Triples of two clips, or of two folders by name; and the names that have no partner.

    ``prompts`` by name come before ``prompt``, which holds for all others.

    Raises ``FileNotFoundError`` for a missing path, ``ValueError`` when a clip meets a folder of clips
    or no name matches.
    """
    for path in (generated, reference):
        if not path.exists():
            raise FileNotFoundError(f"{str(path)!r} does not exist: give a video, a folder of frames or of clips")
    folders = [path.is_dir() and not is_frame_folder(path) for path in (generated, reference)]
    if folders[0] != folders[1]:
        raise ValueError(f"{str(generated)!r} and {str(reference)!r} must both be clips, or both be folders of clips")
    if not folders[0]:
        name = generated.stem
        return [Triple(name, generated, reference, prompts.get(name, prompt))], []
    mine, theirs = clips_in(generated), clips_in(reference)
    names = [name for name in mine if name in theirs]
    if not names:
        raise ValueError(
            f"no clip in {str(generated)!r} ({len(mine)}) has the name of one in {str(reference)!r} ({len(theirs)})"
        )
    triples = [Triple(name, mine[name], theirs[name], prompts.get(name, prompt)) for name in names]
    return triples, sorted(set(mine) ^ set(theirs))


def checked(triples: list[Triple]) -> list[Triple]:
    """The triples, if their files exist and their ids differ. Raises as :func:`matched`."""
    ids = [triple.id for triple in triples]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ValueError(f"id {twice[0]!r} is used twice: give every row an id of its own")
    for triple in triples:
        for path in (triple.generated, triple.reference):
            if not path.exists():
                raise FileNotFoundError(f"{triple.id}: {str(path)!r} does not exist")
    return triples
