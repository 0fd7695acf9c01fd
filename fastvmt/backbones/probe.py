"""Stand-ins for a block that read it: a forward stops there, or runs on without its gradient."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fastvmt.backbones.block import Block, half_tables, rotate


def constant(value: Any) -> Any:
    """An argument of a block, without its gradient."""
    if isinstance(value, tuple):
        return tuple(constant(each) for each in value)
    return value.detach() if isinstance(value, Tensor) else value


class QueryKey(nn.Module):
    """Computes a block's queries and keys (B, tokens, N, D), and neither attention nor feed-forward."""

    kept: tuple[Tensor, Tensor]

    def __init__(self, block: Block, rope: bool) -> None:
        super().__init__()
        self.block = block
        self.rope = rope

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The arguments and the result's form of the block's module."""
        call = self.block.called(*args, **kwargs)
        seen = self.block.attention_input(call)
        q, k = self.block.queries(seen), self.block.keys(seen)
        if self.rope:
            assert call.rotary is not None
            tables = half_tables(call.rotary)
            q, k = rotate(q, *tables[:2]), rotate(k, *tables[2:])
        self.kept = q, k
        return self.block.unchanged(call)


class TappedBlock(QueryKey):
    """Keeps a block's queries and keys, then runs it; nothing from here on has a gradient."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        super().forward(*args, **kwargs)
        return self.block.module(*constant(args), **{name: constant(value) for name, value in kwargs.items()})


class KeyValue(nn.Module):
    """Computes what a block's projections make of the video: keys before their norm, and values (B, tokens, N D)."""

    kept: tuple[Tensor, Tensor]

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`QueryKey.forward`."""
        call = self.block.called(*args, **kwargs)
        seen = self.block.attention_input(call)
        self.kept = self.block.attention.to_k(seen), self.block.attention.to_v(seen)
        return self.block.unchanged(call)


class Residual(nn.Module):
    """Stands after a block: keeps the video's residual stream (B, tokens, E)."""

    kept: Tensor

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As :meth:`QueryKey.forward`."""
        call = self.block.called(*args, **kwargs)
        self.kept = call.hidden
        return self.block.unchanged(call)
