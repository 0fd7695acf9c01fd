"""Models in folders of diffusers' layout: what is loaded, and how text and video go in and out."""

from __future__ import annotations

import string
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from fastvmt.backbones.attention import set_attention
from fastvmt.backbones.base import Backbone
from fastvmt.backbones.block import Block
from fastvmt.backbones.checkpointing import keep
from fastvmt.backbones.folder import Fields, fingerprint, model_folder, read_vocabulary
from fastvmt.backbones.layout import Weights
from fastvmt.backbones.offload import offload as wait_on_the_cpu
from fastvmt.backbones.shortcuts import Cache, Shortcuts
from fastvmt.backbones.sizes import weigh
from fastvmt.backbones.text_encoder import TextEncoder
from fastvmt.backbones.weights import load
from fastvmt.cache import TensorCache
from fastvmt.device import device_of, dtype_on
from fastvmt.divergence import Diverged, Divergence
from fastvmt.settings import Memory
from fastvmt.types import PassCounter, Video

Expert = tuple[Any, list[Block]]
"""A transformer and its blocks."""


class Pretrained(Backbone):
    """An architecture names its classes and its blocks, and gives the abstract methods of this class and its base."""

    kind: ClassVar[str]
    """The architecture's name, for errors."""
    published: ClassVar[tuple[str, ...]]
    """Repositories with such a model in diffusers' layout."""
    parts: ClassVar[dict[str, Any]]
    """Class of ``transformer``, ``vae``, ``text_encoder`` and ``pipeline``, in transformers and diffusers."""
    block_type: ClassVar[type[Block]]
    identity: ClassVar[tuple[str, ...]] = ("*/*.safetensors", "*/config.json")
    """Files of a model's folder that decide what it computes."""

    def __init_subclass__(cls) -> None:
        """Raises ``TypeError`` naming what an architecture leaves out."""
        missing = [name for name in ("kind", "published", "parts", "stack", "block_type") if not hasattr(cls, name)]
        if missing:
            raise TypeError(f"{cls.__name__} names no {', '.join(missing)}")
        if not hasattr(cls.block_type, "feed_forward_layers"):
            raise TypeError(f"{cls.block_type.__name__} names no feed_forward_layers")

    def __init__(
        self,
        path: str,
        *,
        name: str,
        frames: int,
        height: int,
        width: int,
        fps: float,
        max_tokens: int,
        dtype: str = "bfloat16",
        device: str = "auto",
        memory: str = "fast",
        attention: str = "native",
        cache: str = "none",
        cache_threshold: float | None = None,
        cache_interval: int | None = None,
        cache_ratios: Sequence[float] | None = None,
        compile: str = "none",
        offload: bool = False,
        embeddings: TensorCache | None = None,
        prompts: Iterable[str] = (),
    ) -> None:
        """Load the model in ``path`` (a folder, or the name of a shipped model) for clips of the given size.

        ``dtype`` (see :func:`dtype_on`) is of transformer and text encoder; the autoencoder stays float32. ``memory``
        is a :class:`fastvmt.settings.Memory`, ``attention`` one of diffusers' backends; ``cache`` with its numbers and
        ``compile`` are the shortcuts of unguided steps; with ``offload`` blocks wait on the CPU. ``prompts`` are
        embedded before the transformer loads, ``embeddings`` keeps them. Raises ``FileNotFoundError`` and
        ``ValueError`` for what is missing or unsupported.
        """
        self.layout = self.layout_of(path, name=name, frames=frames, height=height, width=width, max_tokens=max_tokens)
        own = None if cache_ratios is None else tuple(cache_ratios)
        self.shortcuts = Shortcuts(Cache(cache, cache_threshold, cache_interval, own), compile == "regional")
        self.folder = model_folder(path, self.kind, self.published)
        self._vocabulary = read_vocabulary(self.folder)
        self.name = name
        self.fps = fps
        self.device = device_of(device)
        self.dtype = dtype_on(self.device, dtype)
        self.passes = PassCounter()
        self.text_encoder = self._text_encoder(max_tokens, embeddings or TensorCache(None), prompts)
        self.offload = offload
        self.experts = self._experts()
        self.transformer, self.blocks = self.experts[0]
        self.vae = self._part("vae", torch.float32, self.device)
        for transformer, _ in self.experts:
            set_attention(transformer, attention, name)
        self.remember(Memory(memory))

    def _text_encoder(self, max_tokens: int, cache: TensorCache, prompts: Iterable[str]) -> TextEncoder:
        """The text encoder, which has embedded ``prompts``."""
        encoder = TextEncoder(
            self.folder, self.parts, max_tokens=max_tokens, dtype=self.dtype, device=self.device, cache=cache
        )
        encoder.prepare(self.negative_prompts.get(prompt, prompt) for prompt in prompts)
        return encoder

    def remember(self, memory: Memory) -> None:
        """Keep for gradients, and decode, as a preset says."""
        self.memory = memory
        for transformer, blocks in self.experts:
            keep(transformer, blocks, memory)

    def _part(self, part: str, dtype: torch.dtype, device: torch.device) -> Any:
        return load(self.parts[part], self.folder / part, dtype, device)

    def _experts(self) -> list[Expert]:
        """The transformers from high noise to low, of which the first is in charge."""
        return [self._expert("transformer", self.device)]

    def _expert(self, part: str, device: torch.device) -> Expert:
        if self.layout.rotary and not hasattr(self.block_type, "rotation"):
            raise TypeError(f"{self.block_type.__name__} names no rotation, and {self.name} rotates queries and keys")
        transformer = self._part(part, self.dtype, torch.device("cpu") if self.offload else device)
        modules = enumerate(getattr(transformer, self.stack))
        blocks: list[Block] = [self.block_type(module, f"{self.stack}.{i}") for i, module in modules]
        if self.offload:
            wait_on_the_cpu(blocks, self.device)
        return transformer.to(device), blocks

    @classmethod
    def check_index(cls, index: Fields) -> None:
        """Raise ``ValueError`` for a ``model_index.json`` whose parts are of other classes than the architecture's."""
        for part, kind in cls.parts.items():
            if part == "pipeline":
                continue
            index.require(part, [kind.__module__.partition(".")[0], kind.__name__], reason=f"it is what {cls.kind} has")

    @abstractmethod
    def normalised(self, encoded: Tensor) -> Tensor:
        """Latents as the transformer sees them, of what the autoencoder gives."""

    @abstractmethod
    def encoded(self, normalised: Tensor) -> Tensor:
        """Undoes :meth:`normalised`."""

    @classmethod
    def fingerprint_of(cls, path: str) -> str:
        return fingerprint(model_folder(path, cls.kind, cls.published), cls.identity)

    @classmethod
    def words_of(cls, path: str) -> str:
        return fingerprint(model_folder(path, cls.kind, cls.published), ("tokenizer/*",))

    @classmethod
    def weights_of(cls, path: str, dtype: torch.dtype) -> Weights | None:
        return weigh(cls.parts, cls.stack, model_folder(path, cls.kind, cls.published), dtype)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.folder, self.identity)

    @property
    def vocabulary(self) -> dict[str, list[str]] | None:
        return self._vocabulary

    def unknown_words(self, prompt: str) -> list[str]:
        def is_unknown(word: str) -> bool:
            tokens = self.text_encoder.tokenizer(word, add_special_tokens=False).input_ids
            dropped = not tokens and any(letter.isalnum() for letter in word)
            return dropped or self.text_encoder.tokenizer.unk_token_id in tokens

        words = (word.strip(string.punctuation) for word in prompt.split())
        return [word for word in words if word and is_unknown(word)]

    def embed(self, prompt: str) -> Tensor:
        return self.text_encoder.embed(prompt)

    @torch.no_grad()
    def encode(self, video: Video) -> Tensor:
        expected = (self.layout.frames, self.layout.height, self.layout.width)
        if video.size not in (expected, (1, *expected[1:])):
            raise ValueError(f"{self.name} encodes clips of (frames, height, width) {expected}; got {video.size}")
        pixels = video.frames_THWC.to(self.device).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        return self.normalised(self.vae.encode(pixels).latent_dist.mode())

    @torch.no_grad()
    def decode(self, latents_BCFHW: Tensor) -> Tensor:
        raw: list[Tensor] = []  # the autoencoder clamps what its decoder gives, infinity too

        def note(_module: object, _args: object, out: Any) -> None:
            raw.append(torch.isfinite(out[0] if isinstance(out, tuple) else out).all())

        handle = self.vae.decoder.register_forward_hook(note)
        if self.memory is Memory.low:
            self.vae.enable_tiling()
        try:
            pixels: Tensor = self.vae.decode(self.encoded(latents_BCFHW.to(self.device, torch.float32))).sample
        finally:
            self.vae.disable_tiling()
            handle.remove()
        if not bool(torch.stack(raw).all()):
            raise Diverged(Divergence("the decoded frames are not finite", "the autoencoder's weights"))
        size = tuple(pixels.shape[-2:])
        factor = self.layout.spatial_factor
        expected = tuple(side * factor for side in latents_BCFHW.shape[-2:])
        if size != expected:  # tiles that do not fit together
            raise ValueError(
                f"{self.name}'s autoencoder decodes to {size[0]} x {size[1]} pixels instead of {expected[0]} x "
                f"{expected[1]}: its tiles do not fit together, set backbone.memory=balanced"
            )
        return ((pixels[0].permute(1, 2, 3, 0) + 1) / 2).clamp(0, 1)
