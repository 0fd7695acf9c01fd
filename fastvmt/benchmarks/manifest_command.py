"""Write a benchmark's manifest for a folder of clips and a file of prompts.

``python -m fastvmt.manifest clips/ prompts.yaml benchmark/davis.jsonl --license "CC BY-NC 4.0"``

The folder holds video files, or folders of pictures; DAVIS' own layout (``JPEGImages/480p/<clip>/``,
``Annotations/480p/<clip>/``) is recognised and its masks are entered. The prompts are YAML, by clip name:

    blackswan:
      category: single_object
      source_prompt: a black swan on a river
      prompts:
        - {id: car, kind: subject, text: a toy car on a river}
        - {id: desert, kind: scene, text: a camel in the desert, negative: water}

A clip may be given its prompts alone, as a list, or one as plain text; prompts may be plain text too, and are then
called p0, p1 .. Any key of a manifest's line may be given per clip and wins over what is measured here.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from fastvmt.benchmarks.manifest import read_header, read_manifest
from fastvmt.benchmarks.reference import Reference
from fastvmt.data.frame_folder import clip_sha256, open_clip
from fastvmt.data.triples import clips_in
from fastvmt.terminal import literal_text

MASKS = "Annotations"
PICTURES = "JPEGImages"


def find_clips(folder: Path, resolution: str) -> tuple[dict[str, Path], dict[str, Path]]:
    """Clips and masks by name, from a plain folder or from DAVIS' root.

    Raises ``ValueError`` for a folder without clips.
    """
    davis = folder / PICTURES / resolution
    clips = clips_in(davis if davis.is_dir() else folder)
    if not clips:
        raise ValueError(f"{str(folder)!r} has no video files and no folders of pictures")
    masks = folder / MASKS / resolution
    return clips, clips_in(masks) if davis.is_dir() and masks.is_dir() else {}


def read_prompts(path: Path, clips: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Keys by clip name, the name of its file with or without suffix.

    Raises ``ValueError`` for a clip that is not there or comes twice, or one without prompts.
    """
    try:
        content = values_by_name(path)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    files = {clip.name: name for name, clip in clips.items()}
    named: dict[str, dict[str, Any]] = {}
    for key, value in content.items():
        name = files.get(key, key)
        if name not in clips:
            raise ValueError(f"{path} names clips that are not in the folder: {key}; there are {', '.join(clips)}")
        if name in named:
            raise ValueError(f"{path} names the clip {name} twice")
        keys = (
            {"prompts": [value]} if isinstance(value, str) else {"prompts": value} if isinstance(value, list) else value
        )
        if not isinstance(keys, dict) or not keys.get("prompts"):
            raise ValueError(f"{path} gives no prompts for {name}: add  {name}: {{prompts: [a toy car on a river]}}")
        named[name] = keys
    return named


def values_by_name(path: Path) -> dict[str, Any]:
    """Values of a YAML file by their keys as these are written: YAML would take the clips 1.10 and 010 for numbers.

    Raises ``ValueError`` for what maps no names, or one twice, and what ``yaml`` raises.
    """
    loader = yaml.SafeLoader(path.read_text(encoding="utf-8-sig"))
    root = loader.get_single_node()
    if not (
        isinstance(root, yaml.MappingNode) and root.value and all(isinstance(k, yaml.ScalarNode) for k, _ in root.value)
    ):
        raise ValueError(f"{path} must map clip names to their prompts, as in  blackswan: a toy car on a river")
    if twice := [name for name, count in Counter(key.value for key, _ in root.value).items() if count > 1]:
        raise ValueError(f"{path} names the clip {twice[0]} twice")
    loader.flatten_mapping(root)  # what YAML merges into it
    return {key.value: loader.construct_object(value, deep=True) for key, value in root.value}


def manifest_row(name: str, clip: Path, mask: Path | None, beside: Path, folder_fps: float) -> dict[str, Any]:
    """What can be measured of a clip; paths relative to ``beside``."""
    video = open_clip(clip, folder_fps)
    row = {
        "id": name,
        "video": os.path.relpath(clip, beside),
        "sha256": clip_sha256(clip),
        "fps": video.fps,
        "size": list(video.size[1:]),
    }
    return row if mask is None else row | {"mask": os.path.relpath(mask, beside)}


def check_header(path: Path, prompts: Path) -> None:
    """Raise ``ValueError`` where the header would replace another file than a manifest's header."""
    header = path.with_suffix(".yaml")
    told = f"the header is written to {header}"
    if header.exists() and header.samefile(prompts):
        raise ValueError(f"{told}, which holds the prompts: call the output otherwise than {path}")
    if header.exists():
        try:
            read_header(header)
        except ValueError as error:
            raise ValueError(f"{told}, which is there and is no header: call the output otherwise ({error})") from None


def defaults(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the header says for all clips."""
    frames = {"start": arguments.start, "stride": arguments.stride}
    return {
        "frames": frames if arguments.frames is None else frames | {"num": arguments.frames},
        "frame_policy": arguments.frame_policy,
        "seeds": arguments.seeds,
        "origin": arguments.origin,
        "split": arguments.split,
        "license": arguments.license,
    }


def write_manifest(path: Path, header: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Reference]:
    """Write both files; raises ``ManifestError``, writing neither, for what :func:`read_manifest` would not read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as draft:
        written = Path(draft, path.name)
        _write(written, header, rows)
        _, references = read_manifest(written)
        for suffix in (".yaml", ".jsonl"):
            written.with_suffix(suffix).replace(path.with_suffix(suffix))
    return references


def _write(path: Path, header: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    head = yaml.safe_dump(dict(header), sort_keys=False, allow_unicode=True)
    path.with_suffix(".yaml").write_text(head, encoding="utf-8")
    try:
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    except TypeError as error:  # a date, say: YAML has types that JSON has not
        raise ValueError(f"a text or another value of the prompts is neither text nor a number: {error}") from None
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m fastvmt.manifest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, help="folder of video files or of folders of pictures, or DAVIS' root")
    parser.add_argument("prompts", type=Path, help="YAML: keys and prompts by clip name")
    parser.add_argument("output", type=Path, help="<file>.jsonl; the header is written beside it as <file>.yaml")
    parser.add_argument("--license", required=True, help="of the clips, in words: it is kept with the results")
    parser.add_argument("--version", default="1")
    parser.add_argument("--frames", type=int, help="frames of every clip (default: as many as the backbone makes)")
    parser.add_argument("--start", type=int, default=0, help="first frame")
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--frame-policy", default="error", choices=("error", "pad_last", "round_down"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--origin", default="real", choices=("davis", "real", "generated"))
    parser.add_argument("--split", default="test", choices=("dev", "test", "hidden"))
    parser.add_argument("--resolution", default="480p", help="DAVIS' folder of one resolution")
    parser.add_argument("--folder-fps", type=float, default=24.0, help="frame rate of folders of pictures")
    arguments = parser.parse_args(argv)
    if arguments.output.suffix != ".jsonl":
        parser.error(f"{arguments.output} must end in .jsonl")
    try:
        clips, masks = find_clips(arguments.clips, arguments.resolution)
        keys = read_prompts(arguments.prompts, clips)
        check_header(arguments.output, arguments.prompts)
        beside = arguments.output.parent
        rows = [
            manifest_row(name, clips[name], masks.get(name), beside, arguments.folder_fps) | keys[name] for name in keys
        ]
        header = {
            "name": arguments.output.stem,
            "version": arguments.version,
            "license": arguments.license,
            "defaults": defaults(arguments),
        }
        references = write_manifest(arguments.output, header, rows)
    except (ValueError, OSError) as error:
        parser.exit(2, f"fastvmt.manifest: {error}\n")
    cases = sum(len(reference.prompts) * len(reference.seeds) for reference in references)
    unused = sorted(set(clips) - set(keys))
    console = Console()
    console.print(literal_text(f"{arguments.output}: {len(references)} references, {cases} cases"))
    if unused:
        console.print(literal_text(f"without prompts, not entered ({len(unused)}): {', '.join(unused)}"))
