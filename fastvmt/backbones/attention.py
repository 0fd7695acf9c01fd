"""Which implementation of attention a transformer computes with: one of diffusers' backends."""

from __future__ import annotations

from typing import Any

from fastvmt.errors import first_line

ATTENTIONS = (
    "native",
    "_native_flash",
    "_native_efficient",
    "_native_cudnn",
    "_native_math",
    "flash",
    "_flash_3",
    "xformers",
)
"""diffusers' names of those with a gradient that download nothing."""


def set_attention(transformer: Any, backend: str, name: str) -> None:
    """Let all attentions of the transformer, and of no other one, use a backend; ``native`` is torch's own choice.

    Raises ``ValueError`` for a backend that this machine has not got, or an architecture that takes none.
    """
    if backend == "native":
        return
    processors = [module.processor for module in transformer.modules() if hasattr(module, "processor")]
    if not all(hasattr(processor, "_attention_backend") for processor in processors):
        raise ValueError(f"backbone.attention={backend} is not for {name}: set backbone.attention=native")
    from diffusers import attention_backend  # takes seconds

    try:
        with attention_backend("native"):  # set_attention_backend changes the process' default too; this undoes that
            transformer.set_attention_backend(backend)
    except (ValueError, RuntimeError, ImportError) as error:
        why = first_line(error)
        raise ValueError(f"backbone.attention={backend}: {why}; set backbone.attention=native") from error
