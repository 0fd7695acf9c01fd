"""Random models of real architectures, as folders in diffusers' layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

import fastvmt.torchvision_ops  # noqa: F401  diffusers imports torchvision

# isort: split
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    UniPCMultistepScheduler,
    WanPipeline,
)
from transformers import T5Config, T5EncoderModel

from experiments.random_folder import CHANNELS, TEXT_WIDTH, random_transformer, random_vae
from experiments.tiny_wan.text import MAX_TOKENS, build_text_encoder, build_tokenizer

SMALL = {"frames": 9, "height": 48, "width": 48, "fps": 8.0, "max_tokens": 16, "dtype": "float32", "device": "cpu"}
"""How to load a random model: clips on a grid of 5 x 6 x 6 tokens."""
Changes = Callable[..., Path]
"""Copies a random model, changes fields of one of its JSON files, and returns the folder."""


def save_random_wan22(folder: Path, experts: bool) -> Path:
    """As ``save_random_wan``, in the layout of Wan 2.2's A14B, of two experts, or of its TI2V-5B."""
    tokenizer = build_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        pipeline = WanPipeline(
            tokenizer=tokenizer,
            text_encoder=build_text_encoder(TEXT_WIDTH, 1, len(tokenizer)).eval(),
            transformer=random_transformer().eval(),
            transformer_2=random_transformer().eval() if experts else None,
            vae=random_vae(residual=not experts).eval(),
            scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
            boundary_ratio=0.875 if experts else None,
            expand_timesteps=not experts,
        )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def random_cogvideox_vae() -> AutoencoderKLCogVideoX:
    """Two-fold in time, four-fold in space."""
    return AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8),
        down_block_types=("CogVideoXDownBlock3D",) * 3,
        up_block_types=("CogVideoXUpBlock3D",) * 3,
        latent_channels=CHANNELS,
        layers_per_block=1,
        norm_num_groups=4,
        temporal_compression_ratio=2,
        sample_height=48,
        sample_width=48,
        scaling_factor=0.7,
    )


def random_cogvideox_transformer(rotary: bool) -> CogVideoXTransformer3DModel:
    """Trained, as it were, on clips of 9 frames of 64 x 48 pixels, so that its positions are not those of the tests."""
    return CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=32,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        time_embed_dim=32,
        text_embed_dim=TEXT_WIDTH,
        num_layers=3,
        sample_width=16,
        sample_height=12,
        sample_frames=9,
        temporal_compression_ratio=2,
        max_text_seq_length=MAX_TOKENS,
        use_rotary_positional_embeddings=rotary,
    )


def random_t5() -> T5EncoderModel:
    tokenizer = build_tokenizer()
    config = T5Config(
        vocab_size=len(tokenizer), d_model=TEXT_WIDTH, d_kv=16, num_heads=2, d_ff=64, num_layers=1, dropout_rate=0.0
    )
    return T5EncoderModel(config)


def save_random_cogvideox(folder: Path, rotary: bool = True) -> Path:
    """3 blocks of 2 heads in CogVideoX's layout, as 5B or, without rotary embedding, as 2B; returns the folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = CogVideoXPipeline(
            tokenizer=build_tokenizer(),
            text_encoder=random_t5().eval(),
            vae=random_cogvideox_vae().eval(),
            transformer=random_cogvideox_transformer(rotary).eval(),
            scheduler=CogVideoXDDIMScheduler(
                prediction_type="v_prediction",
                timestep_spacing="trailing",
                rescale_betas_zero_snr=True,
                snr_shift_scale=1.0 if rotary else 3.0,
                clip_sample=False,
            ),
        )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder
