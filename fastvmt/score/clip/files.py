"""What CLIP's weights may be, in words: open_clip, which takes seconds to import, is not needed to ask for them."""

from __future__ import annotations

from fastvmt.score.weights import WeightSource

CLIP = WeightSource(
    name="clip",
    what="CLIP ViT-B/32",
    file="ViT-B-32.pt or an open_clip folder",
    origin="OpenAI's CLIP release or the Hugging Face repository timm/vit_base_patch32_clip_224.openai",
    licence="MIT",
    size="350 MB to 600 MB",
    override="metrics.clip.model",
)
CLIP_L14 = WeightSource(
    name="clip_l14",
    what="CLIP ViT-L/14",
    file="ViT-L-14.pt or an open_clip folder",
    origin="OpenAI's CLIP release or the Hugging Face repository timm/vit_large_patch14_clip_224.openai",
    licence="MIT",
    size="900 MB to 1.7 GB",
    override="metrics.weights.clip_l14",
)
ARCHITECTURE = "ViT-B-32-quickgelu"
FOLDER = ("open_clip_config.json", "open_clip_model.safetensors")
PREPROCESSING = ("pil", "vbench")
"""Ways to prepare frames, see :class:`fastvmt.score.clip.encoder.ClipEncoder`."""
