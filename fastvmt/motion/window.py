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


def tile_of_token(height: int, width: int, tile: tuple[int, int]) -> Tensor:
    """(S,) number of the tile that each token belongs to, in the order of :func:`tile_index`."""
    rows, columns = torch.arange(height) // tile[0], torch.arange(width) // tile[1]
    return (rows[:, None] * -(-width // tile[1]) + columns).flatten()


def window_sides(grid: tuple[int, int], l: int) -> tuple[int, int]:  # noqa: E741
    """Rows and columns of a window: ``l``, or the whole axis where it is shorter."""
    return min(l, grid[0]), min(l, grid[1])


def window_offsets(grid: tuple[int, int], l: int, device: torch.device | None = None) -> Tensor:  # noqa: E741
    """(L, 2) float (row, column) of a window's cells relative to its first, row by row."""
    return token_positions(*window_sides(grid, l), device=device)


def clamp_centre(centre: Tensor, grid: tuple[int, int], l: int) -> Tensor:  # noqa: E741
    """Soft centres (..., 2) moved so that the window lies inside the grid; no gradient where moved.

    Along an axis that the window covers, every centre becomes the axis' middle.
    """
    axes = zip(centre.unbind(-1), grid, window_sides(grid, l), strict=True)
    return torch.stack([at.clamp((side - 1) / 2, extent - 1 - (side - 1) / 2) for at, extent, side in axes], -1)


def window_corner(centre: Tensor, grid: tuple[int, int], l: int) -> Tensor:  # noqa: E741
    """(..., 2) int64 (row, column) of the first cell of the windows around soft centres (..., 2).

    The *centre* is clamped, not each position: every window lies inside the grid.
    """
    axes = zip(centre.round().long().unbind(-1), grid, window_sides(grid, l), strict=True)
    return torch.stack([(at - side // 2).clamp(0, extent - side) for at, extent, side in axes], -1)


def window_index(corner: Tensor, grid: tuple[int, int], l: int) -> Tensor:  # noqa: E741
    """(..., L) int64 token indices of the windows with these first cells (..., 2), row by row."""
    tall, wide = window_sides(grid, l)
    cells = torch.arange(tall, device=corner.device)[:, None] * grid[1] + torch.arange(wide, device=corner.device)
    return (corner[..., 0] * grid[1] + corner[..., 1])[..., None] + cells.flatten()
