"""Posters: a video's first frame as a small picture, made once for all rows that show the same video."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from fastvmt.data.video_poster import first_picture

SIDE = 320
"""Pixels of the longer side at most."""


class Posters:
    """The posters in one folder, named by their videos' hashes; those that no page needs any more can be removed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.needed: dict[str, bool] = {}
        """By file name, whether there is one."""

    def of(self, video: Path, digest: str) -> str | None:
        """Give the name of a video's poster; None where the video cannot be read."""
        name = f"{digest[:32]}.jpg"
        if name not in self.needed:
            self.needed[name] = (self.folder / name).is_file() or self._made(video, self.folder / name)
        return name if self.needed[name] else None

    def _made(self, video: Path, poster: Path) -> bool:
        try:
            picture = first_picture(video, SIDE)
        except (ValueError, OSError):
            return False  # the page's link to the video says the rest
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = poster.with_suffix(f".{os.getpid()}.partial")
        Image.fromarray(picture).save(partial, "JPEG", quality=80)
        os.replace(partial, poster)
        return True

    def tidy(self) -> None:
        """Remove the posters of videos that are no longer shown."""
        for file in self.folder.glob("*.jpg"):
            if file.name not in self.needed:
                file.unlink()
