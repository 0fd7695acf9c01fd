"""CogVideoX text-to-video, 2B and 5B (arXiv 2408.06072): joint text-video attention, v-prediction, read as a flow.

CogVideoX is variance preserving, x_t = alpha x_0 + s noise with alpha^2 + s^2 = 1, and predicts alpha noise - s x_0.
With sigma = s / (alpha + s), x_t / (alpha + s) is the flow's (1 - sigma) x_0 + sigma noise, and an Euler step along
noise - x_0 is the step of DDIM (arXiv 2010.02502, equation 12) at eta = 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXPipeline, CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from torch import Tensor
from transformers import T5EncoderModel

from fastvmt.backbones.alter import GivenRotation
from fastvmt.backbones.block import Block, Call, Rotary
from fastvmt.backbones.folder import LAYERS, Fields, model_folder, read_object
from fastvmt.backbones.layout import AutoencoderShape, BlockShape, Layout
from fastvmt.backbones.pretrained import Pretrained

DECODED_TOGETHER = 2
"""Latent frames that the autoencoder decodes at a time, after the first: an even number of them makes other clips."""


class CogVideoXRotation(GivenRotation):
    """Called as CogVideoX's blocks call their attention."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> Any:
        assert image_rotary_emb is not None
        return self.attend(attn, hidden_states, encoder_hidden_states, image_rotary_emb)


class CogVideoXBlock(Block):
    """Text and video attend to each other and themselves in one attention, text first."""

    rotation = CogVideoXRotation
    feed_forward_layers = ("ff.net.0.proj", "ff.net.2")

    def called(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        image_rotary_emb: Rotary | None = None,
        attention_kwargs: None = None,
    ) -> Call:
        return Call(hidden_states, encoder_hidden_states, temb, image_rotary_emb)

    def unchanged(self, call: Call) -> tuple[Tensor, Tensor]:
        return call.hidden, call.text

    def attention_input(self, call: Call) -> Tensor:
        block: Any = self.module
        seen: Tensor = block.norm1(call.hidden, call.text, call.time)[0]
        return seen

    def heads_of(self, projected: Tensor, norm: Any) -> Tensor:
        heads = projected.unflatten(2, (self.attention.heads, -1))
        normed: Tensor = heads if norm is None else norm(heads)  # the norm is within a head
        return normed


def check_supported(index: Fields, transformer: Fields, vae: Fields, scheduler: Fields) -> None:
    """Raise ``ValueError`` naming field and file of a model that is not text-to-video CogVideoX 1.0."""
    index.require("_class_name", "CogVideoXPipeline", reason="this backbone is CogVideoX text-to-video")
    transformer.require("_class_name", "CogVideoXTransformer3DModel", reason="this backbone reads its blocks")
    vae.require("_class_name", "AutoencoderKLCogVideoX", reason="this backbone encodes with it")
    transformer.require("patch_size_t", None, reason="patches over time belong to CogVideoX 1.5")
    transformer.require("ofs_embed_dim", None, reason="it belongs to CogVideoX 1.5 image-to-video")
    learned = "a table of one size belongs to image-to-video"
    transformer.require("use_learned_positional_embeddings", None, False, reason=learned)
    vae.require("invert_scale_latents", None, False, reason="it belongs to CogVideoX 1.5 image-to-video")
    channels = transformer["in_channels"]
    transformer.require("out_channels", channels, reason="in_channels: nothing else than the latents goes in")
    vae.require("latent_channels", channels, reason=f"in_channels of {transformer.file}")
    scheduler.require("prediction_type", "v_prediction", reason="the transformer's output is read as it")
    scheduler.require("timestep_spacing", "trailing", reason="noise levels start at pure noise")


def autoencoder_of(vae: Fields) -> AutoencoderShape:
    """Float32 maps of the first layers' channels, as counted at real size; a tile has half the sides of frames."""
    channels = vae.counts("block_out_channels")[0]
    tile = (vae.count("sample_height", 480) // 2) * (vae.count("sample_width", 720) // 2)
    return AutoencoderShape(4 * 75 * channels, 4 * 178 * channels, tile)


class CogVideoXBackbone(Pretrained):
    """Wraps the v-prediction; ``sampler.shift`` is in addition to the model's own schedule, 1 leaves that as it is."""

    kind = "CogVideoX"
    published = ("THUDM/CogVideoX-2b", "THUDM/CogVideoX-5b")
    parts = {
        "transformer": CogVideoXTransformer3DModel,
        "vae": AutoencoderKLCogVideoX,
        "text_encoder": T5EncoderModel,
        "pipeline": CogVideoXPipeline,
    }
    stack = "transformer_blocks"
    block_type = CogVideoXBlock
    identity = (*Pretrained.identity, "scheduler/scheduler_config.json")
    _given: Tensor | None = None

    @classmethod
    def layout_of(
        cls, path: str, *, name: str, frames: int, height: int, width: int, max_tokens: int, **others: Any
    ) -> Layout:
        folder = model_folder(path, cls.kind, cls.published)
        transformer = Fields(folder, "transformer/config.json")
        vae = Fields(folder, "vae/config.json")
        scheduler = Fields(folder, "scheduler/scheduler_config.json")
        check_supported(Fields(folder, "model_index.json"), transformer, vae, scheduler)
        rotary = transformer.get("use_rotary_positional_embeddings", False)
        text = transformer.get("max_text_seq_length", 226)
        if not rotary and max_tokens != text:
            raise ValueError(
                f"backbone.max_tokens={max_tokens} must be {text} for {name}, whose positions of text and video are "
                f"one table: set backbone.max_tokens={text}"
            )
        cls.check_index(Fields(folder, "model_index.json"))
        heads = transformer.count("num_attention_heads")
        patch = transformer.count("patch_size")
        embedding = heads * transformer.count("attention_head_dim")
        return Layout(
            name=name,
            frames=frames,
            height=height,
            width=width,
            depth=transformer.count("num_layers", most=LAYERS),
            temporal_factor=vae.count("temporal_compression_ratio", 4),
            spatial_factor=2 ** (len(vae.counts("block_out_channels")) - 1),
            channels=transformer.count("in_channels"),
            patch=(1, patch, patch),
            heads=heads,
            rotary=rotary,
            latent_step=DECODED_TOGETHER,
            own_levels=True,
            block=BlockShape(
                embedding, 4 * embedding, max_tokens, joint=True, cheap=1, kept_fast=8, kept_balanced=6, kept_single=0
            ),
            autoencoder=autoencoder_of(vae),
        )

    @cached_property
    def noise_levels(self) -> np.ndarray:
        """sigma of every timestep that the model was trained at, rising."""
        config = read_object(self.folder / "scheduler" / "scheduler_config.json")
        alphas = CogVideoXDDIMScheduler.from_config(config).alphas_cumprod.double().numpy()
        signal = np.sqrt(alphas)
        noise = np.sqrt(1 - alphas)
        levels: np.ndarray = noise / (signal + noise)
        return levels

    def sigmas(self, steps: int, shift: float, strength: float = 1.0) -> list[float]:
        """The levels of timesteps that end, evenly spaced, at the noisiest: ``strength`` of all, then 0.

        ``shift`` m makes m s / (1 + (m - 1) s) of them, which divides the signal-to-noise ratio by m^2. Raises
        ``ValueError`` when there are fewer timesteps than steps.
        """
        trained = len(self.noise_levels)
        if strength * trained < steps:
            raise ValueError(
                f"sampler.steps={steps} must be at most {int(strength * trained)} for {self.name}, the timesteps "
                f"that it was trained at up to sampler.strength={strength}"
            )
        timesteps = [round(strength * (trained - k * trained / steps)) - 1 for k in range(steps)]
        levels = [float(self.noise_levels[timestep]) for timestep in timesteps]
        return [shift * level / (1 + (shift - 1) * level) for level in levels] + [0.0]

    def timestep(self, sigma: float) -> float:
        """The timestep at a noise level: whole at the model's own levels, linear in sigma between them."""
        return float(np.interp(sigma, self.noise_levels, np.arange(len(self.noise_levels))))

    def normalised(self, encoded: Tensor) -> Tensor:
        scale: float = self.vae.config.scaling_factor
        return encoded * scale

    def encoded(self, normalised: Tensor) -> Tensor:
        scale: float = self.vae.config.scaling_factor
        return normalised / scale

    def forward(self, latents_BCFHW: Tensor, sigma: float, text: Tensor) -> Tensor:
        scale = 1 / math.hypot(1 - sigma, sigma)  # alpha + s
        x = scale * latents_BCFHW
        predicted: Tensor = self.transformer(
            x.transpose(1, 2).to(self.dtype),
            text,
            torch.full((len(x),), self.timestep(sigma), device=self.device),
            image_rotary_emb=self._rotary_of(x.shape[2]),
            return_dict=False,
        )[0]
        return scale * (predicted.float().transpose(1, 2) - (1 - 2 * sigma) * x)

    def _rotary_of(self, frames: int) -> Rotary | None:
        """What blocks get as their rotary embedding for ``frames`` latent frames."""
        if not self.layout.rotary:
            return None
        return self._own_rotary(frames) if self._given is None else self._given

    def _own_rotary(self, frames: int) -> Rotary:
        config = self.transformer.config
        _, height, width = self.layout.grid
        trained = (config.sample_width // config.patch_size, config.sample_height // config.patch_size)
        cos, sin = get_3d_rotary_pos_embed(
            embed_dim=config.attention_head_dim,
            crops_coords=get_resize_crop_region_for_grid((height, width), *trained),
            grid_size=(height, width),
            temporal_size=frames,
            device=self.device,
        )
        return cos, sin

    def rotary(self) -> Rotary:
        self.layout.check_rotary("method.target=embedding")
        return self._own_rotary(self.layout.grid[0])

    @contextmanager
    def rotary_given(self, rotary: Tensor) -> Iterator[None]:
        self.layout.check_rotary("method.target=embedding")
        own = self._given
        self._given = rotary
        try:
            yield
        finally:
            self._given = own
