"""Where a known sprite is in every frame of a video that only roughly renders it.

A matched filter scores every position and size in every frame, a Viterbi search picks the path:
one blurred or hidden frame is then bridged by its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastvmt.trackers.dis import one_thread

Float = NDArray[np.float32]

SIDE = 96
"""Shorter side of the frames that are searched, pixels: the sprites' own resolution."""
SIZES = tuple(float(size) for size in np.geomspace(0.2, 0.65, 12))
"""Sprite sides to try, as fractions of the frame's shorter side."""
CANDIDATES = 24
"""Peaks per frame that the path may pass through."""
JUMP = 4.0
"""Price of a step, per squared step in frame sides; the best match of the video is worth 1."""
GROW = 2.0
"""Price of a change of size, per squared log ratio."""
FLOOR = 0.05
"""Colour noise added to the background's statistics: keeps flat backgrounds from dominating."""


@dataclass(frozen=True)
class ObjectPath:
    """A sprite's way through a video."""

    centres_T2: Float
    """(x, y) in pixels of the given frames."""
    sizes_T: Float
    """Side of the sprite, pixels."""
    confidence: float
    """Mean cosine between sprite and image under the sprite's mask, background removed; 1 is a perfect rendering."""


@dataclass(frozen=True)
class Template:
    """A sprite at one size, in whitened colours, with its energy."""

    kernel_HWC: Float
    """Sprite minus background, times the sprite's opacity."""
    mask_HW: Float
    energy: float

    @property
    def side(self) -> int:
        return int(self.kernel_HWC.shape[0])


@dataclass(frozen=True)
class Placement:
    """A sprite's path in working pixels: rows (score, x, y, template) and how well it fits."""

    templates: list[Template]
    rows_T4: Float
    confidence: float


def object_paths(frames_THWC: Tensor, sprites: Sequence[Float], sizes: Sequence[float] = SIZES) -> list[ObjectPath]:
    """Find several sprites, each once: the best fit is found first and painted over before the next.

    Args:
        frames_THWC: uint8 RGB video.
        sprites: premultiplied RGBA in [0, 1], square.
        sizes: sides to try, fractions of the frame's shorter side.
    """
    with one_thread():
        images, ratio = working_frames(frames_THWC.cpu().numpy(), SIDE)
        centre, whiten = background_colours(images)
        images = ((images - centre) @ whiten).astype(np.float32)
        sides = sorted({round(size * SIDE) for size in sizes})
        open_ones = {k: [make_template(rgba, side, centre, whiten) for side in sides] for k, rgba in enumerate(sprites)}
        placed: dict[int, Placement] = {}
        while open_ones:
            trials = {k: place(images, templates) for k, templates in open_ones.items()}
            best = max(trials, key=lambda k: trials[k].confidence)
            placed[best] = trials[best]
            del open_ones[best]
            images = paint_over(images, trials[best])
    return [_in_pixels(placed[k], ratio) for k in range(len(sprites))]


def place(images_THWC: Float, templates: list[Template]) -> Placement:
    """The best path of one sprite through whitened frames."""
    found = [candidates(image, templates) for image in images_THWC]
    path = viterbi(found, [template.side for template in templates])
    rows = np.stack([candidate[k] for candidate, k in zip(found, path, strict=True)])
    fits = [_cosine(image, templates[int(row[3])], row) for image, row in zip(images_THWC, rows, strict=True)]
    return Placement(templates, rows, float(np.mean(fits)))


def paint_over(images_THWC: Float, placement: Placement) -> Float:
    """The frames with a placed sprite replaced by background (0)."""
    cleared = images_THWC.copy()
    height, width = images_THWC.shape[1:3]
    for image, (_, x, y, k) in zip(cleared, placement.rows_T4, strict=True):
        template = placement.templates[int(k)]
        shift = (template.side - 1) / 2
        matrix = np.array([[1, 0, x - shift], [0, 1, y - shift]], np.float32)
        image *= 1 - cv2.warpAffine(template.mask_HW, matrix, (width, height))[..., None]
    return cleared


def _in_pixels(placement: Placement, ratio: Float) -> ObjectPath:
    sides = np.array([placement.templates[int(k)].side for k in placement.rows_T4[:, 3]], np.float32)
    centres = (placement.rows_T4[:, 1:3] + 0.5) / ratio - 0.5
    return ObjectPath(centres.astype(np.float32), sides / ratio[1], placement.confidence)


def working_frames(frames: NDArray[np.uint8], side: int) -> tuple[Float, Float]:
    """Frames in [0, 1] with the shorter side ``side``, and the (x, y) scale to them."""
    scale = side / min(frames.shape[1:3])
    height, width = (round(length * scale) for length in frames.shape[1:3])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    images = np.stack([cv2.resize(frame, (width, height), interpolation=how) for frame in frames])
    ratio = np.array([width / frames.shape[2], height / frames.shape[1]], np.float32)
    return np.asarray(images, np.float32) / np.float32(255), ratio


def background_colours(images_THWC: Float) -> tuple[Float, Float]:
    """Median colour (3,) and whitening matrix (3, 3) of the 70 % of pixels nearest to it."""
    pixels = images_THWC.reshape(-1, 3)
    centre = np.median(pixels, axis=0)
    distance = ((pixels - centre) ** 2).sum(1)
    near = pixels[distance <= np.quantile(distance, 0.7)]
    spread = (near - centre).T @ (near - centre) / len(near) + FLOOR**2 * np.eye(3)
    values, vectors = np.linalg.eigh(spread)
    return centre.astype(np.float32), (vectors / np.sqrt(values) @ vectors.T).astype(np.float32)


def make_template(sprite_rgba: Float, side: int, centre: Float, whiten: Float) -> Template:
    """The sprite scaled to ``side`` pixels against the background's colour."""
    small = np.asarray(cv2.resize(sprite_rgba, (side, side), interpolation=cv2.INTER_AREA), np.float32)
    mask = small[..., 3]
    kernel = ((small[..., :3] - mask[..., None] * centre) @ whiten).astype(np.float32)
    return Template(kernel, mask, float((kernel**2 / np.maximum(mask, 1e-3)[..., None]).sum()))


def candidates(image_HWC: Float, templates: list[Template]) -> Float:
    """The best matches of a frame: rows (score, x, y, template).

    The score is the squared distance to the background that the sprite explains away,
    ``sum m (|I|^2 - |I - S|^2) = 2 <I, m S> - sum m |S|^2`` with the background at 0: a small sprite
    inside a large object explains less of it, so sizes compete fairly.
    """
    scores = np.stack([_score_map(image_HWC, template) for template in templates])
    best, which = scores.max(0), scores.argmax(0)
    peaks = (best == cv2.dilate(best, np.ones((5, 5), np.uint8))).nonzero()
    order = np.argsort(-best[peaks], kind="stable")[:CANDIDATES]
    rows = []
    for y, x in zip(peaks[0][order], peaks[1][order], strict=True):
        k = which[y, x]
        rows.append((best[y, x], x + _offset(scores[k, y], x), y + _offset(scores[k, :, x], y), k))
    return np.array(rows, np.float32)


def _score_map(image: Float, template: Template) -> Float:
    """Score of the template centred at every pixel; outside the frame is background."""
    side = template.side
    before = side // 2
    padded = cv2.copyMakeBorder(image, before, side - before, before, side - before, cv2.BORDER_CONSTANT, value=0)
    corr = np.asarray(cv2.matchTemplate(padded, template.kernel_HWC, cv2.TM_CCORR), np.float32)
    if side % 2 == 0:  # an even template is centred between pixels: average the four around
        corr = np.float32(0.25) * (corr[:-1, :-1] + corr[1:, :-1] + corr[:-1, 1:] + corr[1:, 1:])
    else:
        corr = corr[:-1, :-1]
    return 2 * corr - template.energy


def _offset(line: Float, at: int) -> float:
    """Sub-pixel position of a peak from a parabola through its neighbours, in [-0.5, 0.5]."""
    if not 0 < at < len(line) - 1:
        return 0.0
    left, middle, right = (float(line[at + i]) for i in (-1, 0, 1))
    bend = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def viterbi(found: list[Float], sides: list[int]) -> list[int]:
    """Which candidate of each frame lies on the path of largest score minus price."""
    top = max(float(rows[:, 0].max()) for rows in found)
    worth = max(top, 1.0)  # below 1 nothing was found, and any path is as good
    log_side = np.log(np.array(sides, np.float32))
    total: NDArray[np.floating[Any]] = found[0][:, 0] / worth
    back = []
    for previous, current in zip(found[:-1], found[1:], strict=True):
        jump = ((current[:, None, 1:3] - previous[None, :, 1:3]) ** 2).sum(-1) / SIDE**2
        grow = (log_side[current[:, 3].astype(int)][:, None] - log_side[previous[:, 3].astype(int)][None]) ** 2
        gain = total[None] - JUMP * jump - GROW * grow
        back.append(gain.argmax(1))
        total = gain.max(1) + current[:, 0] / worth
    path = [int(total.argmax())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return path[::-1]


def _cosine(image: Float, template: Template, row: Float) -> float:
    side = template.side
    corner = (float(row[1]) - (side - 1) / 2, float(row[2]) - (side - 1) / 2)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    patch = cv2.remap(image, x + corner[0], y + corner[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    size = float((template.mask_HW[..., None] * patch**2).sum()) * template.energy
    return float((patch * template.kernel_HWC).sum() / np.sqrt(max(size, 1e-12)))
