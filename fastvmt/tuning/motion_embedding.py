"""Motion embeddings: additive tables before the projections of self-attention (Motion Inversion, arXiv 2403.20193)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fastvmt.backbones.block import Block
from fastvmt.tuning.adapter import Adapter


def temporal_difference(value_FHWD: Tensor) -> Tensor:
    """The table (F, H', W', D) without what does not change between frames: its debiasing for inference."""
    # Motion Inversion, Eq. 5: e'_0 = e_0, e'_t = e_t - e_(t-1)
    return torch.cat([value_FHWD[:1], value_FHWD[1:] - value_FHWD[:-1]])


class MotionEmbeddings(Adapter):
    """Per block m^QK (F, 1, D), seen by queries and keys, and m^V (F, H', W', D), seen by values alone.

    Both are added to what self-attention sees of the video, before ``to_q``, ``to_k`` and ``to_v``. An m^V coarser than
    the token grid is enlarged bilinearly; a block without m^V keeps its values.
    """

    def __init__(self, parameters: Mapping[str, Tensor], grid: tuple[int, int, int], device: torch.device) -> None:
        super().__init__(parameters, device)
        self.grid = grid

    @classmethod
    def zeros(
        cls, blocks: Sequence[int], grid: tuple[int, int, int], width: int, pool: int, device: torch.device
    ) -> MotionEmbeddings:
        """Zero tables, which change nothing; m^V has one entry for ``pool`` x ``pool`` tokens of a frame."""
        frames, height, width_tokens = grid
        coarse = (frames, -(-height // pool), -(-width_tokens // pool), width)
        tables = {f"blocks.{b}.query_key": torch.zeros(frames, 1, width) for b in blocks}
        return cls(tables | {f"blocks.{b}.value": torch.zeros(coarse) for b in blocks}, grid, device)

    def query_key_tokens(self, table_F1D: Tensor) -> Tensor:
        """(1, F * S, D): one vector for all tokens of a frame."""
        return table_F1D.expand(-1, self.grid[1] * self.grid[2], -1).flatten(0, 1)[None]

    def value_tokens(self, table_FHWD: Tensor) -> Tensor:
        """(1, F * S, D): one vector per token."""
        if table_FHWD.shape[1:3] != self.grid[1:]:
            enlarged = interpolate(table_FHWD.permute(0, 3, 1, 2), self.grid[1:], mode="bilinear")
            table_FHWD = enlarged.permute(0, 2, 3, 1)
        return table_FHWD.flatten(0, 2)[None]

    def changes(self, index: int, block: Block) -> Iterator[Callable[[], object]]:
        query_key = self.parameters.get(f"blocks.{index}.query_key")
        value = self.parameters.get(f"blocks.{index}.value")
        if query_key is not None:
            for projection in ("to_q", "to_k"):
                yield block.add_before(projection, lambda: self.query_key_tokens(query_key))
        if value is not None:
            yield block.add_before("to_v", lambda: self.value_tokens(value))
