"""Models in folders of diffusers' layout: what is loaded, and how text and video go in and out."""

from __future__ import annotations

import string
import warnings
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from fastvmt.backbones.base import Backbone
from fastvmt.backbones.block import Block
from fastvmt.backbones.folder import Fields, fingerprint, model_folder, read_vocabulary
from fastvmt.backbones.weights import load, load_tokenizer
from fastvmt.device import device_of
from fastvmt.divergence import Diverged, Divergence
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
        checkpointing: bool = False,
    ) -> None:
        """Load the model in ``path`` (a folder, or the name of a shipped model) for clips of the given size.

        ``dtype`` is of transformer and text encoder; the autoencoder stays float32. ``checkpointing`` trades time
        for memory in gradients. Raises ``FileNotFoundError`` and ``ValueError`` for what is missing or unsupported.
        """
        self.layout = self.layout_of(path, name=name, frames=frames, height=height, width=width, max_tokens=max_tokens)
        self.folder = model_folder(path, self.kind, self.published)
        self._vocabulary = read_vocabulary(self.folder)
        self.name = name
        self.fps = fps
        self.max_tokens = max_tokens
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.device = device_of(device)
        self.passes = PassCounter()
        self.tokenizer = load_tokenizer(self.folder / "tokenizer")
        self.text_encoder = self._part("text_encoder", self.dtype, self.device)
        self.checkpointing = checkpointing
        self.experts = self._experts()
        self.transformer, self.blocks = self.experts[0]
        self.vae = self._part("vae", torch.float32, self.device)
        self._encoder = self.parts["pipeline"](
            tokenizer=self.tokenizer, text_encoder=self.text_encoder, transformer=None, vae=None, scheduler=None
        )

    def _part(self, part: str, dtype: torch.dtype, device: torch.device) -> Any:
        return load(self.parts[part], self.folder / part, dtype, device)

    def _experts(self) -> list[Expert]:
        """The transformers from high noise to low, of which the first is in charge."""
        return [self._expert("transformer", self.device)]

    def _expert(self, part: str, device: torch.device) -> Expert:
        transformer = self._part(part, self.dtype, device)
        if self.checkpointing:
            transformer.enable_gradient_checkpointing()
        modules = enumerate(getattr(transformer, self.stack))
        return transformer, [self.block_type(module, f"{self.stack}.{i}") for i, module in modules]

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

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.folder, self.identity)

    @property
    def vocabulary(self) -> dict[str, list[str]] | None:
        return self._vocabulary

    def unknown_words(self, prompt: str) -> list[str]:
        def is_unknown(word: str) -> bool:
            tokens = self.tokenizer(word, add_special_tokens=False).input_ids
            dropped = not tokens and any(letter.isalnum() for letter in word)
            return dropped or self.tokenizer.unk_token_id in tokens

        words = (word.strip(string.punctuation) for word in prompt.split())
        return [word for word in words if word and is_unknown(word)]

    @torch.no_grad()
    def embed(self, prompt: str) -> Tensor:
        if (count := len(self.tokenizer(prompt).input_ids)) > self.max_tokens:
            cut = f"backbone.max_tokens={self.max_tokens} cuts a prompt of {count} tokens: {prompt}"
            warnings.warn(cut, stacklevel=2)
        embeds: Tensor = self._encoder.encode_prompt(
            prompt=prompt, do_classifier_free_guidance=False, max_sequence_length=self.max_tokens, device=self.device
        )[0]
        return embeds.to(self.dtype)

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

        def keep(_module: object, _args: object, out: Any) -> None:
            raw.append(torch.isfinite(out[0] if isinstance(out, tuple) else out).all())

        handle = self.vae.decoder.register_forward_hook(keep)
        try:
            pixels: Tensor = self.vae.decode(self.encoded(latents_BCFHW.to(self.device, torch.float32))).sample
        finally:
            handle.remove()
        if not bool(torch.stack(raw).all()):
            raise Diverged(Divergence("the decoded frames are not finite", "the autoencoder's weights"))
        return ((pixels[0].permute(1, 2, 3, 0) + 1) / 2).clamp(0, 1)
