"""The nouns that every part of fastvmt shares.

Shape suffixes: F latent frames, H W token grid, S = H * W tokens of a frame, N heads, D head
channels, E channels after the heads are reduced, P frame pairs, T tiles (in ``motion``) or pixel
frames (in ``Video`` and tracks), L window side, B C batch and channel. Positions and displacements
of ``motion`` are (row, column) in tokens; tracks are (x, y) in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Video:
    """RGB frames in memory."""

    frames_THWC: Tensor
    """uint8 in [0, 255]."""
    fps: float
    name: str = ""

    def __post_init__(self) -> None:
        shape = tuple(self.frames_THWC.shape)
        dtype = str(self.frames_THWC.dtype)
        if len(shape) != 4 or shape[-1] != 3 or dtype != "torch.uint8":
            raise ValueError(f"a video is uint8 of shape (T, H, W, 3), got {dtype} of shape {shape}")

    @property
    def size(self) -> tuple[int, int, int]:
        """Frames, height, width."""
        t, h, w, _ = self.frames_THWC.shape
        return t, h, w


@dataclass(frozen=True)
class ClipShape:
    """What a model wants of a clip."""

    frames: int
    height: int
    width: int
    step: int
    """A clip has ``step`` k + 1 frames: what a causal video autoencoder keeps; 1 takes any number."""

    def takes(self, frames: int) -> bool:
        """Whether the model takes a clip of so many frames."""
        return frames >= 1 and (frames - 1) % self.step == 0

    def cut(self, frames: int) -> int:
        """The most of so many frames that the model takes."""
        return (frames - 1) // self.step * self.step + 1

    def nearest(self, frames: int) -> int:
        """The length nearest to ``frames`` that makes more than one latent frame."""
        return max(1, round((frames - 1) / self.step)) * self.step + 1


@dataclass(frozen=True)
class Truth:
    """What is known about the motion of a generated-world reference."""

    centres_KT2: Tensor
    """Each object's centre, pixels (x, y)."""
    tracks_NT2: Tensor
    """Exact tracks of points on objects and background, pixels."""
    visible_NT: Tensor
    owner_N: Tensor
    """Object index of a track, -1 for the background."""


@dataclass(frozen=True)
class TransferCase:
    """One reference, one prompt, one seed."""

    id: str
    reference: Video
    prompt: str
    negative_prompt: str = ""
    seed: int = 0
    category: str = ""
    reference_prompt: str = ""
    truth: Truth | None = None
    foreground_THW: Tensor | None = None
    """Where the reference's moving subject is, bool, of the reference's size: for scores and for DeT's tracks."""


Pairs = tuple[tuple[int, int], ...]
"""Pairs (i, j) of latent frames. Python's integers: no device has to be waited for to walk through them."""


@dataclass(frozen=True)
class MotionField:
    """Displacements between latent frames, read from attention (AMF)."""

    flow_PS2: Tensor
    """(row, column) in tokens, from frame i to frame j, raster order."""
    pairs: Pairs
    """Frame pairs (i, j)."""
    grid: tuple[int, int, int]
    """F, H, W."""


@dataclass
class PassCounter:
    """Transformer blocks that were run: the currency of a method's cost."""

    block_forwards: int = 0
    block_backwards: int = 0
    gradients: int = 0
    """Gradients through the transformer."""
    reference_forwards: int = 0
    """Of the forwards, those that read the reference: a cached reference saves them."""
    image_forwards: int = 0
    """Of the forwards, those over a single latent frame, which cost far less."""
    image_backwards: int = 0


@dataclass(frozen=True)
class TransferResult:
    """A generated video and how it was made."""

    case: TransferCase
    video: Video
    seconds: dict[str, float]
    """Per stage: encode, reference, guide, denoise, decode, total; of tuned methods also tune and adapter (waiting).
    Beside them ``reference_kept``: what readings that the cache had took when they were made."""
    trace: list[dict[str, float]]
    """One row per inner iteration: step, iteration, sigma, loss, grad_norm, reused, and what the method adds; where a
    gradient was computed also its cosine with the one computed before."""
    passes: PassCounter
    latents_BCFHW: Tensor
    learned: dict[str, Tensor] = field(default_factory=dict)
    """What the method learned and can use again with another prompt, by name."""
    went_on: bool = False
    """Whether an earlier process had begun it: meters have seen the rest only."""
