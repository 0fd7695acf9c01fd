"""An invisible watermark: a keyed pattern of middle frequencies in the luma of every frame, and its detection.

Every frame gets the same small pattern, a sum of cosines over the whole frame whose signs come from a secret. Cosines
are counted per frame, not per pixel, so that resizing keeps them; their sum over frames is compared with the secret's
signs (spread spectrum, Cox et al., 1997). ``python -m fastvmt.watermark clip.mp4 --key secret.txt`` detects it.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fastvmt.data.frame_folder import read_clip
from fastvmt.types import Video

BAND = (8, 56)
"""Half waves per frame and direction, the last left out: below, content is strongest; above, encoders cut."""
STRENGTH = 2.0
"""Standard deviation of the pattern, grey levels of 255."""
THRESHOLD = 6.0
"""Of :func:`detect`. Any clip that does not hold the pattern exceeds it with a probability below exp(-18) = 1.6e-8."""
LUMA = (0.2126, 0.7152, 0.0722)
"""Weights of R, G and B (BT.709)."""
SHORTEST = 8
"""Bytes of a secret."""


def read_secret(path: Path) -> bytes:
    """Read a secret from a file, blanks at its ends aside.

    Raises ``FileNotFoundError``, and ``ValueError`` for one that is too short to be secret.
    """
    if not path.is_file():
        raise FileNotFoundError(f"provenance.watermark={path} does not exist: give a file that holds a secret")
    secret = path.read_bytes().strip()
    if len(secret) < SHORTEST:
        raise ValueError(
            f"provenance.watermark={path} must hold a secret of {SHORTEST} bytes or more, it has {len(secret)}"
        )
    return secret


def signs(secret: bytes) -> Tensor:
    """Give the secret's signs (K, K), one per pair of frequencies, +1 or -1."""
    count = BAND[1] - BAND[0]
    digest = hashlib.shake_256(b"fastvmt watermark 1" + secret).digest(count * count // 8)
    bits = [byte >> place & 1 for byte in digest for place in range(8)]
    return 1.0 - 2.0 * torch.tensor(bits, dtype=torch.float32).view(count, count)


def cosines(side: int) -> Tensor:
    """Give the band's cosines (K, side), orthonormal rows of the DCT-II. Raises ``ValueError`` for a short side."""
    if side < BAND[1]:
        raise ValueError(f"a watermark needs frames of at least {BAND[1]} x {BAND[1]} pixels, a side has {side}")
    wave_K = torch.arange(*BAND).float()
    place_S = torch.arange(side) + 0.5
    return math.sqrt(2 / side) * torch.cos(math.pi / side * wave_K[:, None] * place_S)


def marked(video: Video, secret: bytes) -> Video:
    """Give the video with the pattern of a secret in it. Raises ``ValueError`` for frames that are too small."""
    _, height, width = video.size
    pattern_HW = cosines(height).T @ signs(secret) @ cosines(width)
    pattern_HW = STRENGTH / pattern_HW.std() * pattern_HW
    frames = video.frames_THWC.cpu() + pattern_HW[..., None]
    return Video(frames.round().clamp(0, 255).to(torch.uint8), video.fps, video.name)


def detect(video: Video, secret: bytes) -> float:
    """Compare a video's frequencies with a secret's signs: about normal with variance 1 if it is not marked with it.

    A large value is a mark. Whatever the clip, a secret that it is not marked with gives more than z with a probability
    of at most exp(-z^2 / 2), over secrets (Hoeffding). Raises ``ValueError`` for frames that are too small.
    """
    _, height, width = video.size
    luma_HW = (video.frames_THWC.cpu().float() @ torch.tensor(LUMA)).mean(0)
    found_KK = cosines(height) @ luma_HW @ cosines(width).T
    weight_KK = found_KK / (found_KK.abs() + found_KK.abs().median() + 1e-3)
    return float((weight_KK * signs(secret)).sum() / weight_KK.square().sum().sqrt().clamp(min=1e-12))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m fastvmt.watermark", description="Look for a watermark in clips.")
    p.add_argument("clips", type=Path, nargs="+", help="video files or folders of pictures")
    p.add_argument("--key", type=Path, required=True, metavar="FILE", help="the secret that the clips were marked with")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 if every clip holds the mark, 1 if one does not, 2 with one line about what the user can mend."""
    arguments = parser().parse_args(argv)
    try:
        secret = read_secret(arguments.key)
        values = [detect(read_clip(clip, 1.0), secret) for clip in arguments.clips]
    except (ValueError, OSError) as error:
        sys.stderr.write(f"fastvmt.watermark: {error}\n")
        return 2
    for clip, value in zip(arguments.clips, values, strict=True):
        verdict = "marked" if value > THRESHOLD else "no mark of this key found"
        sys.stdout.write(f"{clip}: {verdict} (z = {value:.1f}, threshold {THRESHOLD:g})\n")
    return 0 if min(values) > THRESHOLD else 1


if __name__ == "__main__":
    sys.exit(main())
