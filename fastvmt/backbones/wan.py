"""Wan text-to-video of one transformer (arXiv 2503.20314): tiny-wan, 2.1's 1.3B and 14B, 2.2's TI2V-5B.

They differ only in their folder. What is special to TI2V-5B is its autoencoder, which diffusers reads from its own
configuration, and ``expand_timesteps``: a noise level for every token. Without a start image all tokens have the same
one, which one number says as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel
from torch import Tensor
from transformers import UMT5EncoderModel

from fastvmt.backbones.alter import GivenRotation
from fastvmt.backbones.block import Block, Call, Rotary
from fastvmt.backbones.folder import LAYERS, Fields, model_folder
from fastvmt.backbones.layout import AutoencoderShape, BlockShape, Layout
from fastvmt.backbones.pretrained import Pretrained

ENCODED_TOGETHER = 4
"""Pixel frames that diffusers' autoencoder encodes at a time, after the first; what is left over it drops."""
TILE = 256
"""Side of a tile in which diffusers' autoencoder decodes, pixels."""
NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，"
    "静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
"""The negative prompt of the released configuration, of all Wan models: garish, overexposed, still, blurred ..."""


class WanRotation(GivenRotation):
    """Called as Wan's blocks call their self-attention."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: None,
        attention_mask: None,
        rotary_emb: Rotary,
    ) -> Any:
        return self.attend(attn, hidden_states, encoder_hidden_states, rotary_emb)


class WanBlock(Block):
    """Self-attention of the video alone; the text comes in by a cross-attention."""

    rotation = WanRotation
    feed_forward_layers = ("ffn.net.0.proj", "ffn.net.2")
    cheap_layers = ("attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_out.0")

    def called(self, hidden_states: Tensor, encoder_hidden_states: Tensor, temb: Tensor, rotary_emb: Rotary) -> Call:
        return Call(hidden_states, encoder_hidden_states, temb, rotary_emb)

    def unchanged(self, call: Call) -> Tensor:
        return call.hidden

    def attention_input(self, call: Call) -> Tensor:
        block: Any = self.module
        shift, scale = (block.scale_shift_table + call.time.float())[:, :2].chunk(2, dim=1)
        seen: Tensor = block.norm1(call.hidden.float()) * (1 + scale) + shift
        return seen.type_as(call.hidden)

    def heads_of(self, projected: Tensor, norm: Any) -> Tensor:
        heads: Tensor = norm(projected).unflatten(2, (self.attention.heads, -1))  # the norm is across heads
        return heads


def check_latents(vae: Fields, channels: int) -> None:
    """Raise ``ValueError`` for latent statistics or factors that cannot be those of the autoencoder's own layers."""
    vae.check_numbers("latents_mean", channels)
    vae.check_numbers("latents_std", channels, positive=True)
    halved = vae.get("temperal_downsample", [False, True, True])
    if not isinstance(halved, list) or not all(isinstance(each, bool) for each in halved):
        raise ValueError(vae.refusal("temperal_downsample", halved, "a list of true and false"))
    halvings = sum(halved)
    patch = 1 if vae.get("patch_size", None) is None else vae.count("patch_size")
    spatial = 2 ** (len(vae.counts("dim_mult", (1, 2, 4, 4))) - 1) * patch
    vae.require("scale_factor_temporal", None, 2**halvings, reason="its layers halve time so often")
    vae.require("scale_factor_spatial", None, spatial, reason="its layers and patches make frames so much smaller")


def autoencoder_of(vae: Fields) -> AutoencoderShape:
    """Float32 maps of the first and last layers' channels, as counted at real size: 2.1's and 2.2's residual kind."""
    encode, decode = (49, 84) if vae.get("is_residual", False) else (37, 51)
    patch = 1 if vae.get("patch_size", None) is None else vae.count("patch_size")
    first = vae.count("base_dim", 96)
    last = first if vae.get("decoder_base_dim", None) is None else vae.count("decoder_base_dim")
    return AutoencoderShape(4 * encode * first / patch**2, 4 * decode * last / patch**2, TILE**2)


def check_positions(layout: Layout, positions: int, whence: str) -> None:
    """Raise ``ValueError`` for a clip with more positions along a side than the model has embeddings for."""
    step = layout.clip.step
    frames = (positions * layout.patch[0] - 1) * layout.temporal_factor // step * step + 1
    height, width = (positions * patch * layout.spatial_factor for patch in layout.patch[1:])
    for side, most in (("frames", frames), ("height", height), ("width", width)):
        if getattr(layout, side) > most:
            raise ValueError(
                f"{whence}: backbone.{side}={getattr(layout, side)} is out of range: it must be at most {most}"
            )


class WanBackbone(Pretrained):
    """Wan's transformer predicts the velocity itself."""

    kind = "Wan"
    published: ClassVar[tuple[str, ...]] = (
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        "Wan-AI/Wan2.1-T2V-14B-Diffusers",
        "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
    )
    parts = {
        "transformer": WanTransformer3DModel,
        "vae": AutoencoderKLWan,
        "text_encoder": UMT5EncoderModel,
        "pipeline": WanPipeline,
    }
    negative_prompts: ClassVar[Mapping[str, str]] = {"wan": NEGATIVE}
    stack = "blocks"
    block_type = WanBlock

    @classmethod
    def boundary_of(cls, index: Fields) -> float | None:
        """:attr:`Layout.boundary`. Raises ``ValueError`` for a ``model_index.json`` of another number of experts."""
        two = "a model of two experts: take backbone=wan22_a14b"
        index.require("transformer_2", None, [None, None], reason=two)
        index.require("boundary_ratio", None, reason=two)
        return None

    @classmethod
    def layout_of(
        cls, path: str, *, name: str, frames: int, height: int, width: int, max_tokens: int, **others: Any
    ) -> Layout:
        folder = model_folder(path, cls.kind, cls.published)
        index = Fields(folder, "model_index.json")
        transformer = Fields(folder, "transformer/config.json")
        vae = Fields(folder, "vae/config.json")
        index.require("_class_name", "WanPipeline", reason="this backbone is text-to-video of Wan")
        index.require("expand_timesteps", None, False, True, reason="it is a switch")
        boundary = cls.boundary_of(index)
        transformer.require("_class_name", "WanTransformer3DModel", reason="this backbone reads its blocks")
        vae.require("_class_name", "AutoencoderKLWan", reason="this backbone encodes with it")
        for field in ("image_dim", "added_kv_proj_dim"):
            transformer.require(field, None, reason="a start image has no place in text-to-video")
        cls.check_index(index)
        channels = transformer.count("in_channels")
        transformer.require("out_channels", channels, reason="in_channels: nothing else than the latents goes in")
        vae.require("z_dim", channels, reason=f"in_channels of {transformer.file}")
        heads = transformer.count("num_attention_heads")
        factor = vae.count("scale_factor_temporal", 4)
        check_latents(vae, channels)
        patch = transformer.counts("patch_size", length=3)
        layout = Layout(
            name=name,
            frames=frames,
            height=height,
            width=width,
            depth=transformer.count("num_layers", most=LAYERS),
            temporal_factor=factor,
            spatial_factor=vae.count("scale_factor_spatial", 8),
            channels=channels,
            patch=(patch[0], patch[1], patch[2]),
            heads=heads,
            latent_step=math.lcm(ENCODED_TOGETHER, factor) // factor,
            boundary=boundary,
            block=BlockShape(heads * transformer.count("attention_head_dim"), transformer.count("ffn_dim"), max_tokens),
            autoencoder=autoencoder_of(vae),
        )
        positions = transformer.count("rope_max_seq_len", 1024)
        check_positions(layout, positions, f"rope_max_seq_len={positions} in {transformer.file}")
        return layout

    def _statistics(self) -> tuple[Tensor, Tensor]:
        config = self.vae.config
        mean, std = (
            torch.tensor(values, device=self.device).view(1, -1, 1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        return mean, std

    def normalised(self, encoded: Tensor) -> Tensor:
        mean, std = self._statistics()
        return (encoded - mean) / std

    def encoded(self, normalised: Tensor) -> Tensor:
        mean, std = self._statistics()
        return normalised * std + mean

    def forward(self, latents_BCFHW: Tensor, sigma: float, text: Tensor) -> Tensor:
        timestep = torch.full((len(latents_BCFHW),), 1000.0 * sigma, device=self.device)
        velocity: Tensor = self.transformer(latents_BCFHW.to(self.dtype), timestep, text, return_dict=False)[0]
        return velocity.float()

    def rotary(self) -> Rotary:
        own: Rotary = self.transformer.rope(torch.empty(self.layout.latent_shape, device=self.device))
        return own

    @contextmanager
    def rotary_given(self, rotary: Tensor) -> Iterator[None]:
        hook = self.transformer.rope.register_forward_hook(lambda _module, _args, _own: rotary)
        try:
            yield
        finally:
            hook.remove()
