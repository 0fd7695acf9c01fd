"""What tells of a generated file that it was generated: watermark and signed manifest, where the user asks for them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from fastvmt.backbones.layout import Layout
from fastvmt.credentials import GENERATED, Signer, read_signer, sign
from fastvmt.data.video import write_video
from fastvmt.types import Video
from fastvmt.watermark import BAND, marked, read_secret


@dataclass(frozen=True)
class Marks:
    """The secret of the watermark, and who signs; None: no such mark."""

    secret: bytes | None = None
    signer: Signer | None = None

    def watermarked(self, video: Video) -> Video:
        """Give the video as it may leave the machine."""
        return video if self.secret is None else marked(video, self.secret)

    def signed(self, file: Path, source: str = GENERATED) -> None:
        """Sign a written file."""
        if self.signer is not None:
            sign(file, self.signer, source)


def read_marks(cfg: DictConfig, layout: Layout) -> Marks:
    """Read what ``provenance`` names, and sign a trial.

    Raises ``ValueError``, which names the key, for files that do not serve, and ``FileNotFoundError``.
    """
    certificate, key, watermark = (cfg[name] for name in ("certificate", "private_key", "watermark"))
    if (certificate is None) != (key is None):
        raise ValueError("provenance.certificate= and provenance.private_key= go together: give both, or none")
    if watermark is not None and min(layout.height, layout.width) < BAND[1]:
        smallest = f"frames of at least {BAND[1]} x {BAND[1]} pixels, backbone.height={layout.height}"
        raise ValueError(f"provenance.watermark={watermark} needs {smallest}, backbone.width={layout.width}")
    secret = None if watermark is None else read_secret(Path(watermark).expanduser())
    if certificate is None:
        return Marks(secret)
    marks = Marks(secret, read_signer(Path(certificate).expanduser(), Path(key).expanduser()))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "trial.mp4")
        write_video(file, Video(torch.zeros(2, 16, 16, 3, dtype=torch.uint8), 8.0))
        marks.signed(file)
    return marks
