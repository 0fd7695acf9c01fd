"""A small random model in the layout of Wan 2.1's, as a folder: what tests, checks and pages run."""

from __future__ import annotations

from pathlib import Path

import torch

import fastvmt.torchvision_ops  # noqa: F401  diffusers imports torchvision

# isort: split
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel

from experiments.tiny_wan.text import build_text_encoder, build_tokenizer

TEXT_WIDTH = 32
CHANNELS = 4
"""Of the latents."""


def random_vae(residual: bool = False) -> AutoencoderKLWan:
    """Two-fold in time, four-fold in space, with statistics that normalisation must not ignore.

    ``residual`` is the kind of Wan 2.2's TI2V-5B.
    """
    return AutoencoderKLWan(
        base_dim=8,
        decoder_base_dim=8,
        z_dim=CHANNELS,
        dim_mult=[1, 1] if residual else [1, 2],
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[True],
        is_residual=residual,
        patch_size=2,
        in_channels=12,
        out_channels=12,
        scale_factor_temporal=2,
        scale_factor_spatial=4,
        latents_mean=[0.3, -0.2, 0.1, 0.5],
        latents_std=[0.5, 2.0, 1.5, 0.8],
    )


def random_transformer(blocks: int = 3) -> WanTransformer3DModel:
    """Two heads of 24 channels, which guidance can read in any block."""
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        text_dim=TEXT_WIDTH,
        freq_dim=32,
        ffn_dim=64,
        num_layers=blocks,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )


def save_random_wan(folder: Path, blocks: int = 3) -> Path:
    """Write a model of 2 heads in the layout of Wan 2.1's, random weights from a fixed seed; returns the folder."""
    tokenizer = build_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = WanPipeline(
            tokenizer=tokenizer,
            text_encoder=build_text_encoder(TEXT_WIDTH, 1, len(tokenizer)).eval(),
            transformer=random_transformer(blocks).eval(),
            vae=random_vae().eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder
