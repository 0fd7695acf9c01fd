"""Cases from a manifest: a JSONL file of references beside a YAML header, every clip checked on load."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from fastvmt.backbones.layout import Layout
from fastvmt.benchmarks.base import Benchmark, Lost
from fastvmt.benchmarks.reference import KINDS, SPLITS, ManifestError, Prompt, Reference, read_reference
from fastvmt.data.frame_folder import clip_sha256, read_clip, read_frames, read_picture
from fastvmt.data.resample import prepare
from fastvmt.types import TransferCase, Video
from fastvmt.world.motion import CATEGORIES

log = logging.getLogger(__name__)

HEADER_KEYS = ("name", "version", "license", "defaults")
ON_LOST = ("error", "skip")
FPS_TOLERANCE = 0.005
"""Relative: containers round 23.976."""


def read_manifest(path: Path) -> tuple[dict[str, Any], list[Reference]]:
    """The header (``<stem>.yaml``) and the references (``<stem>.jsonl``) of a manifest.

    The header's ``defaults`` hold for every line that does not say otherwise; blank lines are skipped.

    Raises ``FileNotFoundError`` for a missing file and :class:`ManifestError` for wrong contents.
    """
    header_path = path.with_suffix(".yaml")
    for file, what in ((path, "manifest"), (header_path, "header of the manifest")):
        if not file.is_file():
            raise FileNotFoundError(f"{what} {str(file)!r} does not exist: set benchmark.path=<file>.jsonl")
    try:
        header = yaml.safe_load(header_path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ManifestError(f"{header_path.name} is not YAML: {error}") from None
    if not isinstance(header, dict) or not header.get("name") or not set(header) <= set(HEADER_KEYS):
        raise ManifestError(f"{header_path.name} must have a name, and may have {', '.join(HEADER_KEYS[1:])}")
    references: dict[str, Reference] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ManifestError(f"{where} is not JSON: {error}") from None
        reference = read_reference({**(header.get("defaults") or {}), **row}, where)
        if reference.id in references:
            raise ManifestError(f"{where}: id={reference.id} is used twice; ids must be unique")
        references[reference.id] = reference
    if not references:
        raise ManifestError(f"{path.name} has no references")
    return header, list(references.values())


def sampled_clip(
    reference: Reference, clip: Video, layout: Layout, target_fps: float | None, mask: bool = False
) -> tuple[Video, str]:
    """The frames of a decoded clip that the backbone takes, and a line for the log.

    Frame i is native frame ``start + round(i * stride * fps / target_fps)``. With ``frame_policy=error``
    ``frames.num`` must be the backbone's count and the clip must hold it; ``round_down`` cuts a longer
    range to the backbone's count, ``pad_last`` repeats the last frame of a shorter one.

    Raises ``ValueError`` for a clip that does not fit.
    """
    factor, wanted = layout.temporal_factor, layout.frames
    num, policy = reference.num or wanted, reference.frame_policy
    if policy == "error" and (num - 1) % factor:
        raise ValueError(f"frames.num={num} must be {factor} k + 1, or set frame_policy to round_down or pad_last")
    if num > wanted and policy != "round_down":
        raise ValueError(f"frames.num={num} is more than backbone.frames={wanted}: set frame_policy=round_down")
    if num < wanted and policy != "pad_last":
        raise ValueError(f"frames.num={num} is fewer than backbone.frames={wanted}: set frame_policy=pad_last")
    rate = (target_fps or reference.fps) / reference.stride
    last = reference.start + math.floor((num - 1) * reference.fps / rate + 0.5)
    count = clip.size[0]
    if policy == "error" and count <= last:
        raise ValueError(f"decodes to {count} frames, but frames needs frame {last}: the clip is too short")
    ranged = Video(clip.frames_THWC[: last + 1], reference.fps, reference.id)
    video, how = prepare(
        ranged,
        frames=wanted,
        height=layout.height,
        width=layout.width,
        fps=rate,
        start=reference.start,
        policy=policy,
        temporal_factor=factor,
        mask=mask,
    )
    if video.size[0] != wanted:
        raise ValueError(f"decodes to {count} frames: enough for {video.size[0]}, fewer than backbone.frames={wanted}")
    return video, how


def read_mask(path: Path, clip: Video, first: int) -> Video:
    """A mask as a clip of the native frames, black where background is; a picture alone is that of frame ``first``.

    Raises ``ValueError`` unless it has the clip's size and, as a folder, its number of frames.
    """
    if path.is_dir():
        mask = read_frames(path, clip.fps)
    else:
        picture = torch.from_numpy(read_picture(path))
        frames = picture.new_zeros(clip.size[0], *picture.shape)
        frames[first] = picture
        mask = Video(frames, clip.fps)
    if mask.size != clip.size:
        raise ValueError(f"mask {path.name!r} has (frames, height, width) {mask.size}, its clip {clip.size}")
    return mask


def check_filters(**filters: tuple[Sequence[str] | None, Sequence[str]]) -> None:
    """Raise ``ValueError`` for a chosen value that is not among the legal ones."""
    for key, (chosen, legal) in filters.items():
        if unknown := [value for value in chosen or () if value not in legal]:
            raise ValueError(f"benchmark.{key}={unknown} must be among {', '.join(legal)}")


def refusal(lost: Sequence[Lost], references: int) -> str:
    """Why a benchmark cannot run as it is."""
    listed = "; ".join(f"{row.reference}: {row.reason}" for row in lost)
    many = f"{len(lost)} of {references} references cannot be used"
    return f"{many} (benchmark.on_lost=skip leaves them out): {listed}"


class ManifestBenchmark(Benchmark):
    """Every prompt and seed of every reference; case ids are ``reference/prompt/s<seed>``.

    Clips are decoded once on load, to be sure of them, and again when their cases run.
    """

    def __init__(
        self,
        layout: Layout | None,
        fps: float,
        sample_seed: int,
        *,
        path: str | None,
        target_fps: float | None = None,
        splits: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
        on_lost: str = "error",
    ) -> None:
        """Manifests state every clip's own rate, so the backbone's ``fps`` is not used.

        Args:
            layout: shapes of the cases; None leaves every clip unchecked until :meth:`fitted` asks for its case.
            target_fps: sample clips at this rate; None keeps each clip's own.
            splits, categories, kinds: keep only these; None keeps all.
            on_lost: ``error`` refuses the whole benchmark when a clip cannot be used, ``skip`` leaves it out.
        """
        if path is None:
            raise ValueError("benchmark=manifest needs benchmark.path=<file>.jsonl")
        check_filters(splits=(splits, SPLITS), categories=(categories, CATEGORIES), kinds=(kinds, KINDS))
        if on_lost not in ON_LOST:
            raise ValueError(f"benchmark.on_lost={on_lost} must be one of {', '.join(ON_LOST)}")
        if target_fps is not None and not target_fps > 0:
            raise ValueError(f"benchmark.target_fps={target_fps} must be above 0, or null for each clip's own rate")
        self.path = Path(path).expanduser()
        self.layout, self.target_fps, self.sample_seed = layout, target_fps, sample_seed
        self.header, references = read_manifest(self.path)
        self.kinds = tuple(kinds or KINDS)
        chosen = [r for r in references if r.split in (splits or SPLITS) and r.category in (categories or CATEGORIES)]
        self.lost = () if layout is None else tuple(self._unusable(chosen, layout))
        if self.lost and on_lost == "error":
            raise ValueError(refusal(self.lost, len(chosen)))
        gone = {lost.reference for lost in self.lost}
        self._entries: list[tuple[Reference, Prompt, int]] = [
            (r, prompt, seed)
            for r in chosen
            if r.id not in gone
            for prompt in r.prompts
            if prompt.kind in self.kinds
            for seed in r.seeds
        ]
        if not self._entries:
            raise ValueError(f"{self.path.name}: no case is left; relax benchmark.splits, categories or kinds")
        self._latest: tuple[tuple[str, Layout], Video, Tensor | None] | None = None
        names = [self._case_id(*entry).replace("/", "-") for entry in self._entries]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ManifestError(f"two cases would share the folder {twice[0]}: rename a reference or a prompt")

    def _case_id(self, reference: Reference, prompt: Prompt, seed: int) -> str:
        return f"{reference.id}/{prompt.id}/s{self.sample_seed + seed}"

    def _unusable(self, references: Sequence[Reference], layout: Layout) -> list[Lost]:
        lost = []
        for reference in references:
            try:
                self._check_files(reference)
                self._clip(reference, layout)
            except (ValueError, OSError) as error:
                log.warning("%s is left out: %s", reference.id, error)
                prompts = sum(prompt.kind in self.kinds for prompt in reference.prompts)
                lost.append(Lost(reference.id, prompts * len(reference.seeds), str(error)))
        return lost

    def _check_files(self, reference: Reference) -> None:
        folder = self.path.parent
        for key in ("video", "mask", "tracks"):
            name = getattr(reference, key)
            if name is not None and not (folder / name).exists():
                raise FileNotFoundError(f"{key} {name!r} does not exist")
        if (found := clip_sha256(folder / reference.video)) != reference.sha256:
            said = f"{found[:12]}..., the manifest says {reference.sha256[:12]}..."
            raise ValueError(f"sha256 of {reference.video!r} is {said}")

    def _clip(self, reference: Reference, layout: Layout) -> tuple[Video, Tensor | None, str]:
        """The clip and its mask (T, H, W) as a layout has them, and a line for the log."""
        clip = read_clip(self.path.parent / reference.video, reference.fps)
        if clip.size[1:] != reference.size:
            raise ValueError(f"frames are {clip.size[1:]}, the manifest says size={list(reference.size)}")
        if abs(clip.fps - reference.fps) > FPS_TOLERANCE * reference.fps:
            raise ValueError(f"plays at {clip.fps:g} fps, the manifest says fps={reference.fps:g}")
        video, how = sampled_clip(reference, clip, layout, self.target_fps)
        if reference.mask is None:
            return video, None, how
        mask = read_mask(self.path.parent / reference.mask, clip, reference.start)
        frames_THWC = sampled_clip(reference, mask, layout, self.target_fps, mask=True)[0].frames_THWC
        return video, (frames_THWC > 0).any(-1), how

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> TransferCase:
        if not 0 <= index < len(self):
            raise IndexError(index)
        assert self.layout is not None
        return self._case(index, self.layout)

    @property
    def listed(self) -> list[tuple[str, Path, str]]:
        """Every case's id, file of the reference and prompt."""
        return [(self._case_id(*entry), self.path.parent / entry[0].video, entry[1].text) for entry in self._entries]

    def fitted(self, case_id: str, size: tuple[int, int, int]) -> TransferCase:
        """A case for a generator of clips of any ``size`` (frames, height, width); a stated ``frames.num`` is kept."""
        index = [self._case_id(*entry) for entry in self._entries].index(case_id)
        reference = self._entries[index][0]
        self._check_files(reference)
        frames = reference.num if reference.num and reference.frame_policy == "error" else size[0]
        return self._case(index, Layout("clips", frames, *size[1:], 1, 1, 1, 1, (1, 1, 1), 1))

    def _case(self, index: int, layout: Layout) -> TransferCase:
        reference, prompt, seed = self._entries[index]
        if self._latest is None or self._latest[0] != (reference.id, layout):
            video, mask, how = self._clip(reference, layout)
            log.info("%s: %s", reference.id, how)
            self._latest = ((reference.id, layout), video, mask)
        return TransferCase(
            id=self._case_id(reference, prompt, seed),
            reference=self._latest[1],
            prompt=prompt.text,
            negative_prompt=prompt.negative,
            seed=self.sample_seed + seed,
            category=reference.category,
            reference_prompt=reference.source_prompt,
            foreground_THW=self._latest[2],
        )
