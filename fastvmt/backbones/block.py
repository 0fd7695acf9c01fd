"""A transformer block, seen as its self-attention over the video tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

Rotary = Tensor | tuple[Tensor, Tensor]
"""The model's own cosines and sines (..., tokens, ..., D), each entry twice, or (..., tokens, N D) where each head has
its own; or a tensor (4, tokens, half of that) that was given in their place: cosines and sines of the queries, cosines
and sines of the keys."""


def half_tables(rotary: Rotary) -> Tensor:
    """(4, tokens, D / 2 or N D / 2): cosines and sines of the queries, cosines and sines of the keys."""
    if isinstance(rotary, Tensor):
        return rotary
    cos, sin = (table.flatten(0, -2)[:, 0::2] for table in rotary)
    return torch.stack([cos, sin, cos, sin])


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of (B, tokens, N, D): channels 2i and 2i + 1 turn by the angle of (tokens, D / 2)'s entry i.

    Tables (tokens, N D / 2) have angles of each head's own.
    """
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = (table.unflatten(-1, (-1, even.shape[-1])) for table in (cos, sin))
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2).type_as(x)


@dataclass(frozen=True)
class Call:
    """What a transformer hands to one of its blocks."""

    hidden: Tensor
    """The residual stream of the video (B, tokens, E)."""
    text: Tensor
    time: Tensor
    rotary: Rotary | None


class Block(ABC):
    """A block of diffusers' making, its self-attention as ``attn1`` with ``to_q``, ``to_k``, ``to_v`` and ``to_out``.

    Where text passes through the same attention, its tokens stand before the video's. ``module`` is read at every
    use: adapters may have replaced layers of it.
    """

    attention_layers = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0")
    """Paths of self-attention's linear layers."""
    feed_forward_layers: tuple[str, ...]
    cheap_layers: tuple[str, ...] = ("attn1.to_out.0",)
    """Paths of linear layers that selective checkpointing computes again: width by width, their results as large as
    the residual stream."""
    rotation: ClassVar[Any]
    """The :class:`fastvmt.backbones.alter.GivenRotation` of the architecture, where its models rotate.

    Without one, :class:`Pretrained` refuses a model that does.
    """

    def __init__(self, module: nn.Module, path: str) -> None:
        """``path`` is the module's place in the transformer."""
        self.module = module
        self.path = path

    @abstractmethod
    def called(self, *args: Any, **kwargs: Any) -> Call:
        """The arguments of the module's ``forward`` by their meaning."""

    @abstractmethod
    def unchanged(self, call: Call) -> Any:
        """What the module's ``forward`` would return if it left the residual stream as it is."""

    @abstractmethod
    def attention_input(self, call: Call) -> Tensor:
        """What self-attention sees of the video (B, tokens, E): the modulated norm of the residual stream."""

    @abstractmethod
    def heads_of(self, projected: Tensor, norm: Any) -> Tensor:
        """Normalised queries or keys (B, tokens, N, D) of their projections (B, tokens, N D)."""

    @property
    def attention(self) -> Any:
        """The module of self-attention."""
        return self.module.get_submodule("attn1")

    @property
    def width(self) -> int:
        """E: channels of a token."""
        width: int = self.attention.to_q.in_features
        return width

    def queries(self, seen: Tensor) -> Tensor:
        """(B, tokens, N, D) before the rotary embedding, from what self-attention sees (B, tokens, E)."""
        return self.heads_of(self.attention.to_q(seen), self.attention.norm_q)

    def keys(self, seen: Tensor) -> Tensor:
        """As :meth:`queries`."""
        return self.heads_of(self.attention.to_k(seen), self.attention.norm_k)

    def values(self, seen: Tensor) -> Tensor:
        """(B, tokens, N, D)."""
        values: Tensor = self.attention.to_v(seen).unflatten(2, (self.attention.heads, -1))
        return values

    @staticmethod
    def hidden_of(output: Any) -> Tensor:
        """The video's residual stream in what the module's ``forward`` returns."""
        hidden: Tensor = output[0] if isinstance(output, tuple) else output
        return hidden

    def add_before(self, projection: str, tokens: Callable[[], Tensor]) -> Callable[[], None]:
        """Add (1, tokens, E) to what ``to_q``, ``to_k`` or ``to_v`` sees of the video; returns what undoes it."""

        def hook(_module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
            added = tokens().to(args[0].dtype)
            text = args[0].shape[1] - added.shape[1]
            return (args[0] + pad(added, (0, 0, text, 0)),)

        undo: Callable[[], None] = getattr(self.attention, projection).register_forward_pre_hook(hook).remove
        return undo

    def add_beside(self, path: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        """Add ``path`` of what self-attention sees of the video (B, tokens, E) to what leaves it, before the gate.

        Returns what undoes it.
        """

        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            hidden = self.hidden_of(output)
            changed = hidden + path(args[0] if args else kwargs["hidden_states"]).to(hidden.dtype)
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        undo: Callable[[], None] = self.attention.register_forward_hook(hook, with_kwargs=True).remove
        return undo
