"""Wan 2.2 text-to-video of two experts, A14B: one transformer for high noise, one for low."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import WanTransformer3DModel

from fastvmt.backbones.block import Block
from fastvmt.backbones.folder import Fields, is_number, model_folder
from fastvmt.backbones.layout import Layout
from fastvmt.backbones.pretrained import Expert, Pretrained
from fastvmt.backbones.wan import WanBackbone

NOT_SHAPES = ("_class_name", "_diffusers_version", "_name_or_path")


class WanExpertsBackbone(WanBackbone):
    """At noise levels from ``boundary_ratio`` on ``transformer`` is in charge, below ``transformer_2``.

    The one in charge computes velocities and all that is read; the other one waits in the memory of the CPU.
    """

    published = ("Wan-AI/Wan2.2-T2V-A14B-Diffusers",)
    parts = {**WanBackbone.parts, "transformer_2": WanTransformer3DModel}
    identity = (*Pretrained.identity, "model_index.json")

    @classmethod
    def boundary_of(cls, index: Fields) -> float | None:
        boundary = index["boundary_ratio"]
        if not is_number(boundary) or not 0 < boundary < 1:
            raise ValueError(index.refusal("boundary_ratio", boundary, "a noise level between 0 and 1"))
        return float(boundary)

    @classmethod
    def layout_of(cls, path: str, **others: Any) -> Layout:
        layout = super().layout_of(path, **others)
        folder = model_folder(path, cls.kind, cls.published)
        high, low = (Fields(folder, f"{part}/config.json") for part in ("transformer", "transformer_2"))
        for field in sorted({*high.values, *low.values} - {*NOT_SHAPES}):
            low.require(field, high.get(field, None), reason=f"{high.file} has it, and experts have the same shapes")
        return layout

    def _experts(self) -> list[Expert]:
        return [*super()._experts(), self._expert("transformer_2", torch.device("cpu"))]

    @property
    def adapted_blocks(self) -> Sequence[Block]:
        return self.experts[0][1]

    def choose_expert(self, sigma: float) -> int:
        assert self.layout.boundary is not None
        index = int(sigma < self.layout.boundary)
        chosen, blocks = self.experts[index]
        if chosen is not self.transformer:
            self.transformer.to("cpu")
            self.transformer = chosen.to(self.device)
            self.blocks = blocks
        return index
