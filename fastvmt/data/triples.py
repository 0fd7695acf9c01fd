"""Which generated clip belongs to which reference and prompt: from names, or from a list."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastvmt.data.frame_folder import is_frame_folder, visible

VIDEOS = (
    ".mp4",
    ".mov",
    ".m4v",
    ".mkv",
    ".webm",
    ".avi",
    ".gif",
    ".webp",
    ".ts",
    ".mts",
    ".mpg",
    ".mpeg",
    ".3gp",
    ".h264",
)
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

    UTF-8, with or without a byte-order mark; the separator is a comma, a semicolon or a tab; names of columns may be
    capitalised. Further columns are kept.

    Raises ``FileNotFoundError`` for a missing file and ``ValueError`` naming the line that is wrong.
    """
    if not path.is_file():
        raise FileNotFoundError(f"list {str(path)!r} does not exist")
    if path.suffix.lower() not in LISTS:
        raise ValueError(f"list {str(path)!r} must be a {' or '.join(LISTS)} file")
    try:
        text = io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=None).read()
    except UnicodeDecodeError as error:
        raise ValueError(f"list {str(path)!r} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    rows = csv_rows(path, text, columns) if path.suffix.lower() == ".csv" else json_rows(path, text)
    for number, row in rows:
        missing = [each for each in columns if row.get(each) is None or (each != "prompt" and row[each] == "")]
        if missing:
            raise ValueError(f"{path.name}, line {number} lacks {', '.join(missing)}; it needs {', '.join(columns)}")
        if wrong := [each for each in (*columns, "id") if not isinstance(row.get(each, ""), str)]:
            raise ValueError(f"{path.name}, line {number}: {wrong[0]}={row[wrong[0]]!r} must be text")
    if not rows:
        raise ValueError(f"list {str(path)!r} is empty")
    return [row for _, row in rows]


def csv_rows(path: Path, text: str, columns: tuple[str, ...]) -> list[tuple[int, dict[str, Any]]]:
    """Line numbers and rows of a CSV file. Raises as :func:`read_rows`."""
    head = text.partition("\n")[0]
    separators = [each for each in ",;\t" if set(columns) <= {name.strip().lower() for name in split(head, each)}]
    if not separators:
        found = head.strip()[:100]
        raise ValueError(f"{path.name}: the first line must name the columns {', '.join(columns)}, it is {found!r}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separators[0])
    names = [name.strip().lower() for name in next(reader)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{path.name}: the first line names the column {twice[0]!r} twice")
    rows = []
    try:
        for fields in reader:
            if len(fields) > len(names):
                quote = f"quote texts that hold {separators[0]!r}"
                raise ValueError(
                    f"{path.name}, line {reader.line_num} has {len(fields)} fields for {len(names)}: {quote}"
                )
            rows += [(reader.line_num, dict(zip(names, fields, strict=False)))] if fields else []
    except csv.Error as error:
        raise ValueError(f"{path.name}, line {reader.line_num}: {error}") from None
    return rows


def split(line: str, separator: str) -> list[str]:
    """Fields of one line of a CSV file."""
    return next(csv.reader([line], delimiter=separator), [])


def json_rows(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    """Line numbers and rows of a JSONL file. Raises as :func:`read_rows`."""
    rows = []
    for number, line in enumerate(text.split("\n"), 1):  # strings of JSON may hold other ends of lines
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path.name}, line {number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path.name}, line {number} must be an object, {{...}}, not {line.strip()[:60]}")
        rows.append((number, {name.lower(): value for name, value in row.items()}))
    return rows


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
    """Prompts by clip name, from a list with the columns name and prompt. Raises ``ValueError`` for a name twice."""
    prompts: dict[str, str] = {}
    for row in read_rows(path, ("name", "prompt")):
        name = row["name"].strip()
        if name in prompts:
            raise ValueError(f"{path.name} names {name!r} twice: give every clip one prompt")
        prompts[name] = row["prompt"]
    return prompts


def without_suffixes(prompts: Mapping[str, str], clips: Collection[str], *, partial: bool) -> dict[str, str]:
    """Prompts by the names of clips: ``a`` and ``a.mp4`` both mean the clip ``a``.

    Raises ``ValueError`` for a name that means no clip, unless ``partial``, and for two that mean the same.
    """
    found: dict[str, str] = {}
    for name, prompt in prompts.items():
        stem = Path(name).stem if Path(name).suffix.lower() in VIDEOS else name
        clip = name if name in clips else stem
        if clip in found:
            raise ValueError(f"prompts name the clip {clip!r} twice: as {clip!r} and with its suffix")
        if clip in clips:
            found[clip] = prompt
        elif not partial:
            raise ValueError(f"prompts name {name!r}, which is no clip; there are {', '.join(sorted(clips))}")
    return found


def clips_in(folder: Path) -> dict[str, Path]:
    """Videos and frame folders directly in a folder, by name without suffix."""
    found: dict[str, Path] = {}
    for path in visible(folder):
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

    Raises ``FileNotFoundError`` for a missing path, ``ValueError`` when a clip meets a folder of clips, no name
    matches, or a prompt's name is no clip's.
    """
    for path in (generated, reference):
        if not path.exists():
            raise FileNotFoundError(f"{str(path)!r} does not exist: give a video, a folder of frames or of clips")
    folders = [path.is_dir() and not is_frame_folder(path) for path in (generated, reference)]
    if folders[0] != folders[1]:
        raise ValueError(f"{str(generated)!r} and {str(reference)!r} must both be clips, or both be folders of clips")
    if not folders[0]:
        name = generated.stem
        own = without_suffixes(prompts, [name], partial=True)
        if prompts and not own:
            raise ValueError(f"prompts do not name the clip {name!r}; they name {', '.join(sorted(prompts))}")
        return [Triple(name, generated, reference, own.get(name, prompt))], []
    mine, theirs = clips_in(generated), clips_in(reference)
    names = [name for name in mine if name in theirs]
    if not names:
        raise ValueError(
            f"no clip in {str(generated)!r} ({len(mine)}) has the name of one in {str(reference)!r} ({len(theirs)})"
        )
    own = without_suffixes(prompts, {**mine, **theirs}, partial=False)
    triples = [Triple(name, mine[name], theirs[name], own.get(name, prompt)) for name in names]
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
