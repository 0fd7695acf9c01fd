"""Cases from a manifest: a JSONL file of references beside a YAML header, every clip checked on load."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from fastvmt.benchmarks.base import Benchmark, Lost
from fastvmt.benchmarks.reference import (
    KINDS,
    SPLITS,
    ManifestError,
    Prompt,
    Reference,
    read_line,
    read_reference,
    require,
)
from fastvmt.benchmarks.sampling import open_mask, sampled, sampled_rate, stated_range
from fastvmt.data.clip import same_rate
from fastvmt.data.cuts import cut_detector, one_shot
from fastvmt.data.frame_folder import clip_sha256, open_clip
from fastvmt.data.resample import doubts, frame_index
from fastvmt.settings import check_choice, check_rate
from fastvmt.types import ClipShape, TransferCase, Video

log = logging.getLogger(__name__)

HEADER_KEYS = ("name", "version", "license", "defaults")
ON_LOST = ("error", "skip")


def read_manifest(path: Path) -> tuple[dict[str, Any], list[Reference]]:
    """The header (``<stem>.yaml``) and the references (``<stem>.jsonl``) of a manifest.

    The header's ``defaults`` hold for every line that does not say otherwise; blank lines are skipped.

    Raises ``FileNotFoundError`` for a missing file and :class:`ManifestError` for wrong contents.
    """
    if path.suffix != ".jsonl":
        raise ManifestError(
            f"benchmark.path={str(path)!r} must be a file <name>.jsonl, its header <name>.yaml beside it"
        )
    lines = read_text(path, "manifest").split("\n")  # JSON may hold other ends of lines
    header = read_header(path.with_suffix(".yaml"))
    references: dict[str, Reference] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        row = read_line(line, where)
        defaults = header.get("defaults") or {}
        reference = read_reference({**defaults, **row} if isinstance(row, dict) else row, where)
        if reference.id in references:
            raise ManifestError(f"{where}: id={reference.id} is used twice; ids must be unique")
        references[reference.id] = reference
    if not references:
        raise ManifestError(f"{path.name} has no references")
    return header, list(references.values())


def read_header(path: Path) -> dict[str, Any]:
    """The header of a manifest. Raises as :func:`read_manifest`."""
    try:
        header = yaml.safe_load(read_text(path, "header of the manifest"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(header, dict) or not header.get("name") or not set(header) <= set(HEADER_KEYS):
        raise ManifestError(f"{path.name} must have a name, and may have {', '.join(HEADER_KEYS[1:])}")
    for key in ("name", "license"):
        require(isinstance(header.get(key, ""), str), path.name, key, header.get(key), "text")
    version = header.get("version", "")
    require(isinstance(version, str | int | float), path.name, "version", version, "text or a number")
    defaults = header.get("defaults") or {}
    require(isinstance(defaults, dict), path.name, "defaults", defaults, "keys of a line, such as seeds: [0, 1]")
    require(all(isinstance(key, str) for key in defaults), path.name, "defaults", defaults, "keys that are text")
    return header


def read_text(path: Path, what: str) -> str:
    """A file's text; raises ``FileNotFoundError``, and :class:`ManifestError` for what is not UTF-8."""
    if not path.is_file():
        raise FileNotFoundError(f"{what} {str(path)!r} does not exist: set benchmark.path=<file>.jsonl")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path.name} is not UTF-8 text ({error.reason} at byte {error.start})") from None


def check_filters(**filters: tuple[Sequence[str] | None, Sequence[str]]) -> None:
    """Raise ``ValueError`` for a chosen value that is not among the legal ones."""
    for key, (chosen, legal) in filters.items():
        if isinstance(chosen, str):
            raise ValueError(f"benchmark.{key}={chosen} must be a list: benchmark.{key}=[{chosen}]")
        if unknown := [value for value in chosen or () if value not in legal]:
            raise ValueError(f"benchmark.{key}={unknown} must be among {', '.join(legal)}")


def refusal(lost: Sequence[Lost], references: int) -> str:
    """Why a benchmark cannot run as it is."""
    listed = "; ".join(f"{row.reference}: {row.reason}" for row in lost)
    many = f"{len(lost)} of {references} references cannot be used"
    return f"{many} (benchmark.on_lost=skip leaves them out): {listed}"


class ManifestBenchmark(Benchmark):
    """Every prompt and seed of every reference; case ids are ``reference/prompt/s<seed>``.

    Clips are checked and decoded once on load, to be sure of them, and again when their cases run.
    """

    def __init__(
        self,
        clip: ClipShape | None,
        fps: float,
        sample_seed: int,
        *,
        path: str | None,
        target_fps: float | None = None,
        splits: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
        on_lost: str = "error",
        cut_policy: str = "error",
    ) -> None:
        """Manifests state every clip's own rate, so the backbone's ``fps`` is not used.

        Args:
            clip: shape of the cases' clips; None leaves every clip unchecked until :meth:`fitted` asks for its case.
            target_fps: sample clips at this rate; None keeps each clip's own.
            splits, categories, kinds: keep only these; None keeps all.
            on_lost: ``error`` refuses the whole benchmark when a clip cannot be used, ``skip`` leaves it out.
            cut_policy: see :class:`fastvmt.data.cuts.CutPolicy`.
        """
        if path is None:
            raise ValueError("benchmark=manifest needs benchmark.path=<file>.jsonl")
        check_choice("benchmark.on_lost", on_lost, ON_LOST)
        if target_fps is not None:
            check_rate("benchmark.target_fps", target_fps)
        self.path = Path(path).expanduser()
        self.shape = clip
        self.target_fps = target_fps
        self.sample_seed = sample_seed
        self.cut_policy = cut_policy
        self.detector = cut_detector(cut_policy)
        header, references = read_manifest(self.path)
        known = sorted({reference.category for reference in references})
        check_filters(splits=(splits, SPLITS), categories=(categories, known), kinds=(kinds, KINDS))
        self.kinds = tuple(kinds or KINDS)
        chosen = [r for r in references if r.split in (splits or SPLITS) and r.category in (categories or known)]
        self.lost = () if clip is None else tuple(self._unusable(chosen, clip))
        if self.lost and on_lost == "error":
            raise ValueError(refusal(self.lost, len(chosen)))
        self._entries = self._cases_of(chosen)
        clips = {reference.id: {"origin": reference.origin, "license": reference.license} for reference in chosen}
        self.attribution = {"name": header["name"], "version": header.get("version", ""), "clips": clips}
        self.own_seeds = tuple(sorted({seed for *_, seed in self._entries}))
        self._latest: tuple[tuple[str, ClipShape], Video, Tensor | None] | None = None

    def _cases_of(self, references: Sequence[Reference]) -> list[tuple[Reference, Prompt, int]]:
        """The cases of the references that can be used; raises ``ValueError`` for none, or two of one folder."""
        gone = {lost.reference for lost in self.lost}
        entries = [
            (r, prompt, seed)
            for r in references
            if r.id not in gone
            for prompt in r.prompts
            if prompt.kind in self.kinds
            for seed in r.seeds
        ]
        if not entries:
            raise ValueError(f"{self.path.name}: no case is left; relax benchmark.splits, categories or kinds")
        names = [self._case_id(*entry).replace("/", "-") for entry in entries]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ManifestError(f"two cases would share the folder {twice[0]}: rename a reference or a prompt")
        return entries

    def _case_id(self, reference: Reference, prompt: Prompt, seed: int) -> str:
        return f"{reference.id}/{prompt.id}/s{self.sample_seed + seed}"

    def _unusable(self, references: Sequence[Reference], shape: ClipShape) -> list[Lost]:
        lost = []
        for reference in references:
            try:
                self._check_files(reference)
                self._clip(reference, shape)
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

    def _clip(self, reference: Reference, shape: ClipShape) -> tuple[Video, Tensor | None, list[str]]:
        """The clip and its mask (T, H, W) in a shape, a line for the log, and warnings."""
        clip = open_clip(self.path.parent / reference.video, reference.fps)
        if clip.size[1:] != reference.size:
            raise ValueError(f"frames are {clip.size[1:]}, the manifest says size={list(reference.size)}")
        if not same_rate(clip.fps, reference.fps):
            raise ValueError(f"plays at {clip.fps:g} fps, the manifest says fps={reference.fps:g}")
        rate = sampled_rate(reference, clip, self.target_fps)
        ranged = stated_range(reference, clip, shape, rate)
        index = frame_index(ranged, shape, rate, reference.start, reference.frame_policy)
        shot = one_shot(ranged, index, self.cut_policy, self.detector)
        video, how = sampled(reference, shot, shape, rate)
        lines = [how, *doubts(shot, video, rate)]
        if reference.mask is None:
            return video, None, lines
        mask = replace(open_mask(self.path.parent / reference.mask, clip, reference.start), times=shot.times)
        frames_THWC = sampled(reference, mask, shape, rate, mask=True)[0].frames_THWC
        return video, (frames_THWC > 0).any(-1), lines

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> TransferCase:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self.shape is None:
            raise ValueError("cases of a manifest without a shape of clips come from fitted()")
        return self._case(index, self.shape)

    def texts(self) -> list[str]:
        return ["", *(text for r, p, _ in self._entries for text in (p.text, p.negative, r.source_prompt))]

    @property
    def listed(self) -> list[tuple[str, Path, str]]:
        """Every case's id, file of the reference and prompt."""
        return [(self._case_id(*entry), self.path.parent / entry[0].video, entry[1].text) for entry in self._entries]

    def fitted(self, case_id: str, size: tuple[int, int, int]) -> TransferCase:
        """A case for a generator of clips of any ``size`` (frames, height, width); a stated ``frames.num`` is kept."""
        index = [self._case_id(*entry) for entry in self._entries].index(case_id)
        reference = self._entries[index][0]
        frames = reference.num if reference.num and reference.frame_policy == "error" else size[0]
        return self._case(index, ClipShape(frames, *size[1:], step=1))

    def _read(self, reference: Reference, shape: ClipShape) -> tuple[Video, Tensor | None, list[str]]:
        """Give what :meth:`_clip` gives of files that are the manifest's: they may have changed since they were listed.

        Raises ``ManifestError`` for a clip that cannot be used.
        """
        try:
            self._check_files(reference)
            return self._clip(reference, shape)
        except (ValueError, OSError) as error:
            told = "restore its files, or write the manifest anew"
            raise ManifestError(f"{reference.id} cannot be used: {error}; {told}") from error

    def _case(self, index: int, shape: ClipShape) -> TransferCase:
        reference, prompt, seed = self._entries[index]
        if self._latest is None or self._latest[0] != (reference.id, shape):
            video, mask, (how, *warnings) = self._read(reference, shape)
            log.info("%s", how)
            for warning in warnings:
                log.warning("%s: %s", reference.id, warning)
            self._latest = ((reference.id, shape), video, mask)
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
