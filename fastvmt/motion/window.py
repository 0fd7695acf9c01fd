"""Tiles of queries and the windows of keys around their coarse matches."""

from __future__ import annotations

import torch
from torch import Tensor


def token_positions(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(S, 2) float (row, column) of every token in raster order."""
    rows, columns = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    return torch.stack([rows, columns], -1).flatten(0, 1).float()


def tile_index(height: int, width: int, tile: tuple[int, int]) -> Tensor:
    """(T, tile tokens) int64 token indices of each tile; -1 where the last tile leaves the grid."""
    tall, wide = tile
    rows, columns = -(-height // tall), -(-width // wide)
    index = torch.full((rows * tall, columns * wide), -1)
    index[:height, :width] = torch.arange(height * width).view(height, width)
    return index.view(rows, tall, columns, wide).transpose(1, 2).reshape(rows * columns, tall * wide)


def tile_centre(index_Tt: Tensor, tile: tuple[int, int]) -> Tensor:
    """(T,) token index at each tile's middle, or its last valid token where the tile is cut."""
    middle = index_Tt[:, (tile[0] // 2) * tile[1] + tile[1] // 2]
    return torch.where(middle >= 0, middle, index_Tt.max(1).values)


def window_side(extent: int, l: int) -> int:  # noqa: E741
    """Tokens of a window along an axis: ``l``, or the whole axis where it is shorter."""
    return min(l, extent)


def clamp_centre(centre: Tensor, grid: tuple[int, int], l: int) -> Tensor:  # noqa: E741
    """Soft centres (..., 2) moved so that the window lies inside the grid; no gradient where moved.

    Along an axis that the window covers, every centre becomes the axis' middle.
    """
    bounds = []
    for extent in grid:
        half = (window_side(extent, l) - 1) / 2
        bounds.append((half, extent - 1 - half))
    low, high = torch.tensor(bounds, device=centre.device, dtype=centre.dtype).T
    return torch.minimum(torch.maximum(centre, low), high)


def window_index(centre: Tensor, grid: tuple[int, int], l: int) -> Tensor:  # noqa: E741
    """(..., L) int64 token indices of the windows around soft centres (..., 2), row by row.

    The *centre* is clamped, not each position: all indices are valid and distinct.
    """
    sides = [window_side(extent, l) for extent in grid]
    axes = []
    for axis, (extent, side) in enumerate(zip(grid, sides, strict=True)):
        start = (torch.round(centre[..., axis]) - side // 2).long().clamp(0, extent - side)
        axes.append(start[..., None] + torch.arange(side, device=centre.device))
    return (axes[0][..., :, None] * grid[1] + axes[1][..., None, :]).flatten(-2)
