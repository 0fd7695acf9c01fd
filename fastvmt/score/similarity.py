"""Text similarity: how well a video fits its prompt."""

from __future__ import annotations

import math
import warnings
from typing import Any

from torch import Tensor
from torch.nn.functional import cosine_similarity

from fastvmt.score.clip.files import CLIP, CLIP_L14
from fastvmt.score.encoder import FrameEncoder
from fastvmt.score.features import embed_frames
from fastvmt.score.metric import ScoreMetric
from fastvmt.score.networks import Networks
from fastvmt.score.registry import score
from fastvmt.score.sample import Sample

RANGE = "-1..1 times scale"


def columns_of(suffix: str = "") -> tuple[str, ...]:
    """The score, and 1 where the encoder did not read the prompt to its end."""
    return f"text_similarity{suffix}", f"prompt_truncated{suffix}"


def text_similarity(features_TD: Tensor, text_D: Tensor) -> Tensor:
    """Mean over frames of the cosine <f_t, p> of unit embeddings of frame and prompt; a scalar in [-1, 1].

    Of CLIP's embeddings (Radford et al., 2021), as the evaluation of DiTFlow (Pondaven et al., 2025) has it.

    Example:
        >>> text_similarity(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([3.0, 0.0])).item()
        0.5
    """
    return cosine_similarity(features_TD.double(), text_D.double()[None], dim=-1).mean()


class TextSimilarity(ScoreMetric):
    """:func:`text_similarity` times ``scale``; an empty prompt has no score.

    ``scale`` 1 is the raw cosine (about 0.2 to 0.35 with OpenAI's CLIP), 100 that of CLIPScore-like tables. Cosines of
    different encoders are not comparable. ``suffix`` ends the columns' names. Raises ``ValueError`` for a scale
    that is not above 0.

    Example:
        >>> class Colour:
        ...     def encode_images(self, frames_TCHW):
        ...         return frames_TCHW.float().mean((2, 3))
        ...     def encode_text(self, prompts):
        ...         return torch.eye(3)[:1].expand(len(prompts), 3)
        ...     def truncates(self, prompt):
        ...         return False
        >>> red = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
        >>> red[:, 0, 4:] = 200
        >>> metric = TextSimilarity(Colour(), scale=100)
        >>> metric.update(red, index=[0], prompts=["red"])
        >>> metric.compute().item()
        100.0
    """

    def __init__(self, encoder: FrameEncoder, scale: float = 1.0, suffix: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not scale > 0:
            raise ValueError(f"metrics.clip.scale={scale} must be above 0: 1 for cosines, 100 for percent")
        self.encoder = encoder
        self.scale = scale
        self.columns = columns_of(suffix)

    @property
    def source(self) -> dict[str, Any]:
        return {**self.encoder.provenance, "scale": self.scale}

    def measure(self, sample: Sample) -> dict[str, float]:
        if not sample.prompt.strip():
            return dict(zip(self.columns, (math.nan, 0.0), strict=True))
        cut = self.encoder.truncates(sample.prompt)
        if cut:
            warnings.warn(f"the text score reads only the start of a long prompt: {sample.prompt[:60]!r}", stacklevel=2)
        rows = embed_frames(sample.video, self.encoder)
        value = self.scale * float(text_similarity(rows, self.encoder.encode_text([sample.prompt])[0]))
        return dict(zip(self.columns, (value, float(cut)), strict=True))


@score(
    "text_similarity",
    definition="mean cosine of CLIP embeddings of frames and prompt, times scale; prompt_truncated: 1 if cut",
    source="CLIP (Radford et al., 2021), as DiTFlow",
    range=RANGE,
    limits="encoders differ: never across them; prompts are read up to the context (prompt_truncated)",
    needs=("prompt",),
    weights=(CLIP,),
    columns=columns_of(),
    head="text",
)
def b32(networks: Networks) -> TextSimilarity:
    return TextSimilarity(networks.clip, networks.scale)


@score(
    "text_similarity_l14",
    definition="text_similarity with CLIP ViT-L/14",
    source="CLIP (Radford et al., 2021)",
    range=RANGE,
    limits="as text_similarity",
    needs=("prompt",),
    weights=(CLIP_L14,),
    columns=columns_of("_l14"),
)
def l14(networks: Networks) -> TextSimilarity:
    return TextSimilarity(networks.clip_l14, networks.scale, "_l14")
