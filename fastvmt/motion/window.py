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


def in_tiles(x_FSE: Tensor, grid: tuple[int, int], tile: tuple[int, int], fill: float = 0) -> Tensor:
    """(F, T, tile tokens, E) tokens by tile, both row by row; ``fill`` where the last tile leaves the grid."""
    height, width = grid
    tall, wide = tile
    whole = torch.nn.functional.pad(x_FSE.unflatten(1, grid), (0, 0, 0, -width % wide, 0, -height % tall), value=fill)
    by_tile: Tensor = whole.unflatten(2, (-1, wide)).unflatten(1, (-1, tall)).transpose(2, 3)
    return by_tile.flatten(3, 4).flatten(1, 2)


def out_of_tiles(x_PTtE: Tensor, grid: tuple[int, int], tile: tuple[int, int]) -> Tensor:
    """(P, S, E) tokens in raster order: undoes :func:`in_tiles`."""
    height, width = grid
    tall, wide = tile
    by_tile: Tensor = x_PTtE.unflatten(2, tile).unflatten(1, (-(-height // tall), -(-width // wide)))
    return by_tile.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, :height, :width].flatten(1, 2)


def tile_index(height: int, width: int, tile: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """(T, tile tokens) int64 token indices of each tile; -1 where the last tile leaves the grid."""
    index_1S1 = torch.arange(height * width, device=device)[None, :, None]
    return in_tiles(index_1S1, (height, width), tile, fill=-1)[0, ..., 0]


def tile_centre(index_Tt: Tensor, tile: tuple[int, int]) -> Tensor:
    """(T,) token index at each tile's middle, or its last valid token where the tile is cut."""
    middle_T = index_Tt[:, (tile[0] // 2) * tile[1] + tile[1] // 2]
    return torch.where(middle_T >= 0, middle_T, index_Tt.amax(1))


def tile_of_token(height: int, width: int, tile: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """(S,) number of the tile that each token belongs to, in the order of :func:`tile_index`."""
    rows = torch.arange(height, device=device) // tile[0]
    columns = torch.arange(width, device=device) // tile[1]
    return (rows[:, None] * -(-width // tile[1]) + columns).flatten()


def window_sides(grid: tuple[int, int], side: int) -> tuple[int, int]:
    """Rows and columns of a window: ``side``, or the whole axis where it is shorter."""
    return min(side, grid[0]), min(side, grid[1])


def window_offsets(grid: tuple[int, int], side: int, device: torch.device | None = None) -> Tensor:
    """(L, 2) float (row, column) of a window's cells relative to its first, row by row."""
    return token_positions(*window_sides(grid, side), device=device)


def clamp_centre(centre: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Soft centres (..., 2) moved so that the window lies inside the grid; no gradient where moved.

    Along an axis that the window covers, every centre becomes the axis' middle.
    """
    axes = zip(centre.unbind(-1), grid, window_sides(grid, side), strict=True)
    return torch.stack([at.clamp((long - 1) / 2, extent - 1 - (long - 1) / 2) for at, extent, long in axes], -1)


def window_corner(centre: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """(..., 2) int64 (row, column) of the first cell of the windows around soft centres (..., 2).

    The *centre* is clamped, not each position: every window lies inside the grid.
    """
    axes = zip(centre.round().long().unbind(-1), grid, window_sides(grid, side), strict=True)
    return torch.stack([(at - long // 2).clamp(0, extent - long) for at, extent, long in axes], -1)


def window_cells(grid: tuple[int, int], side: int, device: torch.device | None = None) -> Tensor:
    """(L,) int64 token indices of a window's cells, counted from its first, row by row."""
    tall, wide = window_sides(grid, side)
    rows = torch.arange(tall, device=device)
    columns = torch.arange(wide, device=device)
    return (rows[:, None] * grid[1] + columns).flatten()


def window_index(corner: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """(..., L) int64 token indices of the windows with these first cells (..., 2), row by row."""
    first = corner[..., 0] * grid[1] + corner[..., 1]
    return first[..., None] + window_cells(grid, side, corner.device)
