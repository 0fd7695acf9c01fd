"""What a method needs from a video diffusion transformer, and its readings, the same for all architectures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fastvmt.backbones.alter import given_keys_and_values, given_rotation
from fastvmt.backbones.block import Block, Rotary, half_tables
from fastvmt.backbones.layout import Layout, Weights
from fastvmt.backbones.probe import KeyValue, QueryKey, Residual, TappedBlock
from fastvmt.backbones.shortcuts import Series, Shortcuts
from fastvmt.divergence import FEATURES, check_finite
from fastvmt.schedule import sigma_schedule
from fastvmt.types import PassCounter, Video


def check_reading(*features: Tensor, block: int) -> None:
    """Raise :class:`fastvmt.divergence.Diverged` for features that are not finite, where no gradient is taken.

    That is where a reference is read, once. Inside an optimisation waiting for the device would cost time in every
    iteration, and the loss, which has to be waited for anyway, shows it.
    """
    if not torch.is_grad_enabled():
        for tensor in features:
            check_finite(f"features of block {block} that the guidance reads", tensor, FEATURES)


NAMED_PROMPTS = {"wan": "Wan's own"}
"""Negative prompts that have a name, and whose they are: that name is no prompt for another model."""


class Backbone(ABC):
    """A text-to-video model as a flow: x_sigma = (1 - sigma) x_0 + sigma noise, v = noise - x_0.

    Latents are (1, C, F, H', W') float32, normalised as the transformer sees them; text is (1, tokens, C).
    """

    stack: ClassVar[str]
    """The transformer's attribute that lists its blocks."""
    negative_prompts: ClassVar[Mapping[str, str]] = {}
    """Those of the model, by their names in ``NAMED_PROMPTS``."""
    layout: Layout
    """Sizes of clips, latents and token grid."""
    name: str
    fps: float
    device: torch.device
    dtype: torch.dtype
    """Of the transformer's weights."""
    transformer: Any
    blocks: Sequence[Block]
    """The transformer's blocks in order. Of a model with two experts, both are the one's in charge."""
    shortcuts: Shortcuts
    """What passes of unguided steps save."""
    passes: PassCounter
    """Counts every transformer block that runs; the caller resets it."""

    @classmethod
    @abstractmethod
    def layout_of(
        cls, path: str, *, name: str, frames: int, height: int, width: int, max_tokens: int, **others: Any
    ) -> Layout:
        """The layout of the model in ``path`` for clips of a size, from its JSON files; ``others``: see ``__init__``.

        Raises ``ValueError`` naming field and file for a model that the architecture's class does not support.
        """

    @classmethod
    @abstractmethod
    def fingerprint_of(cls, path: str) -> str:
        """Hash of the weights and settings of the model in ``path``, without loading it."""

    @classmethod
    def words_of(cls, path: str) -> str:
        """Hash of how the model in ``path`` reads words, beside its weights; empty where these say all."""
        return ""

    @classmethod
    def weights_of(cls, path: str, dtype: torch.dtype) -> Weights | None:
        """Bytes of the weights of the model in ``path``, from its JSON files; None where that is not known."""
        return None

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """The same of the loaded model, for caches and records."""

    @property
    @abstractmethod
    def vocabulary(self) -> dict[str, list[str]] | None:
        """Objects and backgrounds that a small model knows, or None where the text encoder knows words at large."""

    @abstractmethod
    def unknown_words(self, prompt: str) -> list[str]:
        """Words of the prompt that the text encoder has no token for."""

    @abstractmethod
    def embed(self, prompt: str) -> Tensor:
        """Text embedding (1, tokens, C); the empty prompt is legal."""

    @abstractmethod
    def encode(self, video: Video) -> Tensor:
        """Latents of a clip, or of a single frame as an image: the posterior's mode.

        Raises ``ValueError`` for a clip of another size than the layout's.
        """

    @abstractmethod
    def decode(self, latents_BCFHW: Tensor) -> Tensor:
        """Frames (T, H, W, 3) float32 in [0, 1] of latents."""

    @abstractmethod
    def forward(self, latents_BCFHW: Tensor, sigma: float, text: Tensor) -> Tensor:
        """v, float32, at noise level ``sigma`` in [0, 1], by whatever blocks the transformer has at the moment."""

    @abstractmethod
    def rotary(self) -> Rotary:
        """The model's own rotary embedding for clips of the layout's size."""

    @abstractmethod
    def rotary_given(self, rotary: Tensor) -> AbstractContextManager[None]:
        """Within the context blocks get ``rotary`` in place of the model's rotary embedding."""

    def choose_expert(self, sigma: float) -> int:
        """Make ``transformer`` and ``blocks`` those in charge of a noise level; its index, 0 of the noisiest."""
        return 0

    @property
    def adapted_blocks(self) -> Sequence[Block]:
        """The blocks that adapters change: of two experts, the one's in charge of high noise."""
        return self.blocks

    def sigmas(self, steps: int, shift: float, strength: float = 1.0) -> list[float]:
        """``steps + 1`` noise levels from the start of the denoising to 0; see :func:`sigma_schedule`."""
        return sigma_schedule(steps, shift, strength)

    def velocity(self, latents_BCFHW: Tensor, sigma: float, text: Tensor) -> Tensor:
        """v at noise level ``sigma`` in [0, 1], through all blocks; latents and texts may be a batch."""
        self.shortcuts.end()  # a pass of another kind ends a series, so that no hook is there
        blocks = self.layout.depth * len(latents_BCFHW)
        self.passes.block_forwards += blocks
        if latents_BCFHW.shape[2] == 1:  # an image: a clip has more latent frames
            self.passes.image_forwards += blocks
        self.choose_expert(sigma)
        return self.forward(latents_BCFHW, sigma, text)

    def next_velocity(self, series: Series, latents_BCFHW: Tensor, sigma: float, text: Tensor) -> Tensor:
        """As :meth:`velocity`, without a gradient, by the backbone's shortcuts. Only blocks that run are counted."""
        shortcuts = self.shortcuts
        self.choose_expert(sigma)
        if shortcuts.compiled:
            with self._running(shortcuts.compiled_of(self.transformer, self.blocks)), torch.no_grad():
                return self.velocity(latents_BCFHW, sigma, text)
        if not shortcuts.caching:
            return self.velocity(latents_BCFHW, sigma, text)
        before = shortcuts.ran
        with shortcuts.cached(self.transformer, self.blocks, series), torch.no_grad():
            velocity = self.forward(latents_BCFHW, sigma, text)
        self.passes.block_forwards += (shortcuts.ran - before) * len(latents_BCFHW)
        return velocity

    def query_key(
        self, latents_BCFHW: Tensor, sigma: float, text: Tensor, block: int, rope: bool
    ) -> tuple[Tensor, Tensor]:
        """Self-attention's queries and keys of the video (F, S, N, D) in ``block``; later blocks do not run."""
        self.choose_expert(sigma)
        probe = self._probe(block, rope)
        with self._running([*self._modules(block), probe]):
            self.forward(latents_BCFHW, sigma, text)
        self.passes.block_forwards += block
        q, k = probe.kept
        check_reading(q, k, block=block)
        self.count_backward(k, block)  # FastVMT's window loss depends on the keys alone
        return self._by_frame(q), self._by_frame(k)

    def tapped_velocity(
        self, latents_BCFHW: Tensor, sigma: float, text: Tensor, block: int, rope: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """v and, from the same pass, queries and keys of ``block`` as in :meth:`query_key`.

        Only the queries and keys have a gradient: from ``block`` on the pass is a constant.
        """
        self.choose_expert(sigma)
        tap = self._probe(block, rope, TappedBlock)
        with self._running([*self._modules(block), tap, *self._modules()[block + 1 :]]):
            velocity = self.forward(latents_BCFHW, sigma, text).detach()
        self.passes.block_forwards += self.layout.depth
        q, k = tap.kept
        self.count_backward(k, block)
        return velocity, self._by_frame(q), self._by_frame(k)

    def hidden(self, latents_BCFHW: Tensor, sigma: float, text: Tensor, block: int) -> Tensor:
        """The video's residual stream (F, S, E) after ``block``; later blocks do not run."""
        self.layout.check_block(block, "guidance.block")
        self.choose_expert(sigma)
        end = Residual(self.blocks[block])
        with self._running([*self._modules(block + 1), end]):
            self.forward(latents_BCFHW, sigma, text)
        self.passes.block_forwards += block + 1
        check_reading(end.kept, block=block)
        self.count_backward(end.kept, block + 1)
        return self._by_frame(end.kept)

    @contextmanager
    def keys_and_values_of(self, latents_BCFHW: Tensor, sigma: float, text: Tensor, block: int = 0) -> Iterator[None]:
        """Within the context, ``block`` attends to the video keys and values of these latents, as constants."""
        self.layout.check_block(block, "guidance.block")
        self.choose_expert(sigma)
        probe = KeyValue(self.blocks[block])
        with torch.no_grad(), self._running([*self._modules(block), probe]):
            self.forward(latents_BCFHW, sigma, text)
        self.passes.block_forwards += block
        with given_keys_and_values(self.blocks[block], *probe.kept):
            yield

    def rotation(self) -> Tensor:
        """The rotary embedding (4, F S, D / 2) float32: cosines and sines of the queries, then of the keys."""
        return half_tables(self.rotary()).float()

    @contextmanager
    def rotated_by(self, tables_4SD: Tensor, sigma: float) -> Iterator[None]:
        """Within the context, at ``sigma``, every block rotates queries and keys by these tables, differentiable."""
        self.choose_expert(sigma)
        with given_rotation(self.blocks), self.rotary_given(tables_4SD):
            yield

    def count_backward(self, read: Tensor, blocks: int) -> None:
        """Count a gradient through ``blocks`` blocks when ``read`` receives one."""
        if read.requires_grad:
            read.register_hook(self._counter(blocks))

    def _counter(self, blocks: int) -> Callable[[Tensor], None]:
        def hook(_grad: Tensor) -> None:
            self.passes.block_backwards += blocks
            self.passes.gradients += 1

        return hook

    def _probe(self, block: int, rope: bool, stand_in: type[QueryKey] = QueryKey) -> QueryKey:
        self.layout.check_block(block, "guidance.block")
        if rope:
            self.layout.check_rotary("guidance.rope=true")
        return stand_in(self.blocks[block], rope)

    def _modules(self, count: int | None = None) -> list[nn.Module]:
        """The modules of the first ``count`` blocks, or of all."""
        return [block.module for block in self.blocks[:count]]

    @contextmanager
    def _running(self, modules: Sequence[nn.Module]) -> Iterator[None]:
        """Within the context a forward runs these modules as its blocks; afterwards its own, whatever happens."""
        self.shortcuts.end()
        own = getattr(self.transformer, self.stack)
        setattr(self.transformer, self.stack, nn.ModuleList(modules))
        try:
            yield
        finally:
            setattr(self.transformer, self.stack, own)

    def _by_frame(self, tokens: Tensor) -> Tensor:
        return torch.unflatten(tokens[0], 0, (self.layout.grid[0], -1))
