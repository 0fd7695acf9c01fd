"""Wan 2.1 text-to-video through diffusers: tiny-wan, 1.3B and 14B differ only in their folder."""

from __future__ import annotations

import hashlib
import json
import string
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property

import torch
from diffusers import WanPipeline
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor

from fastvmt.backbones.alter import given_keys_and_values, given_rotation, rotation_tables
from fastvmt.backbones.layout import model_folder, read_layout
from fastvmt.backbones.probe import KeyValue, Residual, TappedBlock, blocks_in, running, stop_at
from fastvmt.types import PassCounter, Video


class WanBackbone:
    """Implements :class:`fastvmt.backbones.base.Backbone` for Wan 2.1 text-to-video models."""

    def __init__(
        self,
        path: str,
        *,
        name: str = "wan",
        frames: int,
        height: int,
        width: int,
        fps: float,
        max_tokens: int = 512,
        dtype: str = "bfloat16",
        device: str = "auto",
        checkpointing: bool = False,
    ) -> None:
        self.layout = read_layout(path, name=name, frames=frames, height=height, width=width)
        self.folder = model_folder(path)
        self.name, self.fps, self.max_tokens = name, fps, max_tokens
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        pipeline = WanPipeline.from_pretrained(self.folder, dtype=self.dtype, local_files_only=True)
        self.tokenizer, self.text_encoder = pipeline.tokenizer, pipeline.text_encoder.to(self.device)
        self.transformer: WanTransformer3DModel = pipeline.transformer.to(self.device)
        self.vae = pipeline.vae.to(self.device, torch.float32)
        for module in (self.text_encoder, self.transformer, self.vae):
            module.eval().requires_grad_(False)
        if checkpointing:
            self.transformer.enable_gradient_checkpointing()
        self._pipeline = pipeline
        self.passes = PassCounter()

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for file in sorted([*self.folder.glob("*/*.safetensors"), *self.folder.glob("*/config.json")]):
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                while part := stream.read(1 << 24):
                    digest.update(part)
        return digest.hexdigest()

    @cached_property
    def vocabulary(self) -> dict[str, list[str]] | None:
        """Objects and backgrounds that a small model knows (``vocabulary.json``), or None."""
        file = self.folder / "vocabulary.json"
        return json.loads(file.read_text()) if file.exists() else None

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
        embeds: Tensor = self._pipeline.encode_prompt(
            prompt=prompt, do_classifier_free_guidance=False, max_sequence_length=self.max_tokens, device=self.device
        )[0]
        return embeds.to(self.dtype)

    def _statistics(self) -> tuple[Tensor, Tensor]:
        config = self.vae.config
        mean, std = (
            torch.tensor(values, device=self.device).view(1, -1, 1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        return mean, std

    @torch.no_grad()
    def encode(self, video: Video) -> Tensor:
        expected = (self.layout.frames, self.layout.height, self.layout.width)
        if video.size not in (expected, (1, *expected[1:])):  # a clip, or one frame as an image
            raise ValueError(f"{self.name} encodes clips of (frames, height, width) {expected}; got {video.size}")
        pixels = video.frames_THWC.to(self.device).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        mean, std = self._statistics()
        latents: Tensor = self.vae.encode(pixels).latent_dist.mode()
        return (latents - mean) / std

    @torch.no_grad()
    def decode(self, latents_BCFHW: Tensor) -> Tensor:
        mean, std = self._statistics()
        pixels: Tensor = self.vae.decode(latents_BCFHW.to(self.device, torch.float32) * std + mean).sample
        return ((pixels[0].permute(1, 2, 3, 0) + 1) / 2).clamp(0, 1)

    def _timestep(self, latents: Tensor, sigma: float) -> Tensor:
        return torch.full((latents.shape[0],), 1000.0 * sigma, device=self.device)

    def _forward(self, latents: Tensor, sigma: float, text: Tensor) -> Tensor:
        x = latents.to(self.dtype)
        velocity: Tensor = self.transformer(x, self._timestep(x, sigma), text, return_dict=False)[0]
        return velocity.float()

    def _check_block(self, block: int) -> None:
        if not 0 <= block < self.layout.depth:
            raise ValueError(f"guidance.block={block} must be in 0..{self.layout.depth - 1} for {self.name}")

    def _by_frame(self, x_BNC: Tensor) -> Tensor:
        return torch.unflatten(x_BNC[0], 0, (self.layout.grid[0], -1))

    def velocity(self, latents_BCFHW: Tensor, sigma: float, text: Tensor) -> Tensor:
        self.passes.block_forwards += self.layout.depth
        if latents_BCFHW.shape[2] == 1:  # an image: a clip has more latent frames
            self.passes.image_forwards += self.layout.depth
        return self._forward(latents_BCFHW, sigma, text)

    def query_key(
        self, latents_BCFHW: Tensor, sigma: float, text: Tensor, block: int, rope: bool
    ) -> tuple[Tensor, Tensor]:
        self._check_block(block)
        with stop_at(self.transformer, block, rope) as probe:
            self._forward(latents_BCFHW, sigma, text)
        self.passes.block_forwards += block
        q, k = probe.kept
        self._count_backward(q, block)
        return self._by_frame(q), self._by_frame(k)

    def tapped_velocity(
        self, latents_BCFHW: Tensor, sigma: float, text: Tensor, block: int, rope: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        self._check_block(block)
        blocks = blocks_in(self.transformer)
        tap = TappedBlock(blocks[block], rope)
        with running(self.transformer, [*blocks[:block], tap, *blocks[block + 1 :]]):
            velocity = self._forward(latents_BCFHW, sigma, text)
        self.passes.block_forwards += self.layout.depth
        q, k = tap.kept
        self._count_backward(q, block)
        return velocity, self._by_frame(q), self._by_frame(k)

    def hidden(self, latents_BCFHW: Tensor, sigma: float, text: Tensor, block: int) -> Tensor:
        self._check_block(block)
        end = Residual()
        with running(self.transformer, [*blocks_in(self.transformer)[: block + 1], end]):
            self._forward(latents_BCFHW, sigma, text)
        self.passes.block_forwards += block + 1
        self._count_backward(end.kept, block + 1)
        return self._by_frame(end.kept)

    @contextmanager
    def keys_and_values_of(self, latents_BCFHW: Tensor, sigma: float, text: Tensor, block: int = 0) -> Iterator[None]:
        self._check_block(block)
        probe = KeyValue(blocks_in(self.transformer)[block])
        with torch.no_grad(), running(self.transformer, [*blocks_in(self.transformer)[:block], probe]):
            self._forward(latents_BCFHW, sigma, text)
        self.passes.block_forwards += block
        with given_keys_and_values(self.transformer, block, *probe.kept):
            yield

    def rotation(self) -> Tensor:
        return rotation_tables(self.transformer, torch.empty(self.layout.latent_shape, device=self.device))

    def rotated_by(self, tables_4SD: Tensor) -> AbstractContextManager[None]:
        return given_rotation(self.transformer, tables_4SD)

    def _count_backward(self, read: Tensor, blocks: int) -> None:
        """Count a gradient through ``blocks`` blocks when ``read`` receives one."""
        if read.requires_grad:
            read.register_hook(self._counter(blocks))

    def _counter(self, blocks: int) -> Callable[[Tensor], None]:
        def hook(_grad: Tensor) -> None:
            self.passes.block_backwards += blocks
            self.passes.gradients += 1

        return hook
