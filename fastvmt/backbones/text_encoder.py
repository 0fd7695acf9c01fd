"""A model's text encoder, which is in memory while it encodes and at no other time."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastvmt.algorithm import ALGORITHM
from fastvmt.backbones.folder import fingerprint
from fastvmt.backbones.weights import check_stored, load, load_tokenizer
from fastvmt.cache import TensorCache, content_key

FILES = ("text_encoder/*.safetensors", "text_encoder/config.json", "tokenizer/*")
"""What decides an embedding, beside the prompt."""


class TextEncoder:
    """Embeddings of prompts, computed once: kept in this process, and on disk where ``cache`` has a folder.

    The weights are loaded for prompts that are not there, for all of them together, and let go of.
    """

    def __init__(
        self,
        folder: Path,
        parts: Mapping[str, Any],
        *,
        max_tokens: int,
        dtype: torch.dtype,
        device: torch.device,
        cache: TensorCache,
    ) -> None:
        """``parts`` are the classes of ``text_encoder`` and ``pipeline``, ``folder`` the model's.

        Raises ``ValueError`` for weights or a tokenizer that cannot be loaded; no weights load.
        """
        self.folder = folder
        self.parts = parts
        self.cache = cache
        self.max_tokens = max_tokens
        self.dtype = dtype
        self.device = device
        self.tokenizer = load_tokenizer(folder / "tokenizer")
        check_stored(parts["text_encoder"], folder / "text_encoder")
        self.known: dict[str, Tensor] = {}
        """By prompt, on the CPU."""

    def key(self, prompt: str) -> str:
        """What the embedding of a prompt depends on; last bits are a kind of device's."""
        return content_key(
            algorithm=ALGORITHM,
            prompt=prompt,
            encoder=fingerprint(self.folder, FILES),
            tokens=self.max_tokens,
            precision=str(self.dtype),
            device=self.device.type,
        )

    def prepare(self, prompts: Iterable[str]) -> None:
        """Compute what is not there."""
        missing = []
        for prompt in dict.fromkeys(prompts):
            if prompt in self.known:
                continue
            stored = self.cache.read(self.key(prompt))
            if stored is None:
                missing.append(prompt)
            else:
                self.known[prompt] = stored["embedding"]
        if missing:
            self._encode(missing)

    def embed(self, prompt: str) -> Tensor:
        """(1, tokens, C) on the device. Warns about a prompt that is cut."""
        if (count := len(self.tokenizer(prompt).input_ids)) > self.max_tokens:
            cut = f"backbone.max_tokens={self.max_tokens} cuts a prompt of {count} tokens: {prompt}"
            warnings.warn(cut, stacklevel=3)
        self.prepare([prompt])
        return self.known[prompt].to(self.device)

    @torch.no_grad()
    def _encode(self, prompts: Iterable[str]) -> None:
        encoder = self.load()
        pipeline = self.parts["pipeline"](
            tokenizer=self.tokenizer, text_encoder=encoder, transformer=None, vae=None, scheduler=None
        )
        for prompt in prompts:
            embedding = pipeline.encode_prompt(
                prompt=prompt,
                do_classifier_free_guidance=False,
                max_sequence_length=self.max_tokens,
                device=self.device,
            )[0]
            self.known[prompt] = embedding.to("cpu", self.dtype)
            self.cache.keep(self.key(prompt), {"embedding": self.known[prompt]})
        del pipeline, encoder
        gc.collect()  # the pipeline and its parts refer to each other
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def load(self) -> Any:
        """The encoder on its device, frozen; who calls lets go of it."""
        return load(self.parts["text_encoder"], self.folder / "text_encoder", self.dtype, self.device)
