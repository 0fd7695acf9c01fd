"""Model folders that are incomplete, damaged, of another architecture, or full of NaN."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from experiments.checks.rows.small import GUIDED, PLAIN, QUIET, unscored
from experiments.checks.trial import HERE, Expect, Outcome, Trial
from fastvmt.shipped import shipped_model

DIT = "transformer/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
Change = Callable[[Path], object]
MODEL = f"backbone.path={HERE}/model"
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("transformer/config.json", {"num_layers": 3}),
    ("transformer/config.json", {"num_layers": 12}),
    ("transformer/config.json", {"num_layers": "six"}),
    ("transformer/config.json", {"num_layers": 10**6}),
    ("transformer/config.json", {"num_layers": ...}),
    ("transformer/config.json", {"patch_size": [1, 2]}),
    ("transformer/config.json", {"patch_size": [0, 0, 0]}),
    ("transformer/config.json", {"num_attention_heads": 5}),
    ("transformer/config.json", {"in_channels": 3}),
    ("transformer/config.json", {"text_dim": 7}),
    ("transformer/config.json", {"rope_max_seq_len": 2}),
    ("transformer/config.json", {"image_dim": 1280}),
    ("transformer/config.json", {"_class_name": "UNet2DModel"}),
    ("vae/config.json", {"z_dim": 3}),
    ("vae/config.json", {"scale_factor_spatial": 0}),
    ("vae/config.json", {"scale_factor_temporal": 3}),
    ("vae/config.json", {"latents_std": [0.0] * 16}),
    ("vae/config.json", {"latents_mean": [float("nan")] * 16}),
    ("vae/config.json", {"latents_mean": []}),
    ("model_index.json", {"_class_name": "StableDiffusionPipeline"}),
    ("model_index.json", {"transformer": ["diffusers", "UNet2DModel"]}),
    ("model_index.json", {"transformer": ["os", "system"]}),
    ("model_index.json", {"vae": ...}),
    ("text_encoder/config.json", {"d_model": 5}),
    ("text_encoder/config.json", {"vocab_size": 3}),
]
"""Values by file, one of each changed; ``...`` takes a key away."""


def copy(here: Path) -> Path:
    """The shipped model as a folder of its own; files are linked until one is replaced."""
    source = shipped_model("tiny-wan")
    shutil.copytree(source, here / "model", copy_function=os.symlink)
    return here / "model"


def replace(file: Path, content: bytes) -> None:
    """Write a file in place of the link."""
    file.unlink()
    file.write_bytes(content)


def tensors(file: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Change:
    """Rewrite a file of weights."""

    def act(model: Path) -> None:
        state = change(load_file(model / file))
        (model / file).unlink()
        save_file({name: value.contiguous() for name, value in state.items()}, model / file)

    return act


def filled(file: str, value: float, part: str = "") -> Change:
    """Fill one value into every tensor whose name has ``part``."""

    def change(state: dict[str, Tensor]) -> dict[str, Tensor]:
        def of(tensor: Tensor) -> float:  # 1e30 is beyond half precision
            return min(value, torch.finfo(tensor.dtype).max) if math.isfinite(value) else value

        chosen = {n: t for n, t in state.items() if part in n and t.is_floating_point()}
        return state | {n: torch.full_like(t, of(t)) for n, t in chosen.items()}

    return tensors(file, change)


def configured(file: str, **values: Any) -> Change:
    """Change keys of a JSON file; ``...`` takes a key away."""

    def act(model: Path) -> None:
        content = json.loads((model / file).read_text()) | values
        replace(model / file, json.dumps({k: v for k, v in content.items() if v is not ...}).encode())

    return act


def bytes_of(file: str, change: Callable[[bytes], bytes]) -> Change:
    """Change a file's bytes."""
    return lambda model: replace(model / file, change((model / file).read_bytes()))


def trial(
    name: str,
    change: Change,
    *names: str,
    kind: str = "models",
    expect: Expect = Expect.refuse,
    check: Callable[[Path, Outcome], str | None] | None = None,
    command: tuple[str, ...] = PLAIN,
) -> Trial:
    """A short run on a changed copy of the shipped model."""

    def prepare(here: Path) -> None:
        change(copy(here))

    return Trial(kind, name, (*command, MODEL), expect, names or ("model",), prepare, check)


def first(state: dict[str, Tensor], count: int = 1) -> list[str]:
    """Names of the first matrices."""
    return [name for name, value in state.items() if value.ndim > 1][:count]


def without(count: int) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """Drop some matrices."""
    return lambda state: {n: t for n, t in state.items() if n not in first(state, count)}


def reshaped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The first matrix with a row more."""
    name = first(state)[0]
    return state | {name: torch.cat([state[name], state[name][:1]])}


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The first matrix under another name."""
    name = first(state)[0]
    return {n: t for n, t in state.items() if n != name} | {"other": state[name]}


def of_weights() -> list[Trial]:
    """Files of weights, the same damage to each."""
    rows = []
    for part, file in (("transformer", DIT), ("vae", VAE), ("text_encoder", TEXT)):
        names = (part, file.split("/")[-1])
        rows += [
            trial(f"{part}_missing", lambda m, f=file: (m / f).unlink(), *names),
            trial(f"{part}_empty", bytes_of(file, lambda c: b""), *names),
            trial(f"{part}_cut", bytes_of(file, lambda c: c[: len(c) // 2]), *names),
            trial(f"{part}_cut_head", bytes_of(file, lambda c: c[:40]), *names),
            trial(f"{part}_text", bytes_of(file, lambda c: b"version https://git-lfs.github.com/spec/v1\n"), *names),
            trial(f"{part}_one_less", tensors(file, without(1)), *names),
            trial(f"{part}_half", tensors(file, lambda s: dict(list(s.items())[: len(s) // 2])), *names),
            trial(f"{part}_one_more", tensors(file, lambda s: s | {"more": torch.zeros(3)}), *names),
            trial(f"{part}_renamed", tensors(file, renamed), *names),
            trial(f"{part}_reshaped", tensors(file, reshaped), *names),
            trial(f"{part}_none", tensors(file, lambda s: {"more": torch.zeros(3)}), *names),
            trial(f"{part}_folder", lambda m, f=file: ((m / f).unlink(), (m / f).mkdir()), *names),
            trial(f"{part}_link", lambda m, f=file: ((m / f).unlink(), (m / f).symlink_to(m / f)), *names),
            trial(f"{part}_whole", tensors(file, lambda s: {n: t.to(torch.int32) for n, t in s.items()}), *names),
            trial(f"{part}_pickle", lambda m, f=file: pickled(m / f), *names),
        ]
    return rows


class Harm:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return open, ("harm.txt", "w")


def pickled(file: Path) -> None:
    """A pickle that runs code, in place of a safetensors file."""
    file.unlink()
    name = {"model.safetensors": "pytorch_model.bin"}.get(file.name, "diffusion_pytorch_model.bin")
    file.with_name(name).write_bytes(pickle.dumps(Harm()))


def coded(model: Path) -> None:
    """A configuration that points to code in the folder."""
    configured("text_encoder/config.json", auto_map={"AutoModel": "harm.Model"}, architectures=["Model"])(model)
    (model / "text_encoder" / "harm.py").write_text("open('harm.txt', 'w').write('x')\nclass Model: pass\n")


def harmless(here: Path, _outcome: Outcome) -> str | None:
    """No code of the folder ran."""
    return "code of the folder ran" if list(here.rglob("harm.txt")) else None


def of_configs() -> list[Trial]:
    """JSON files of the parts."""
    rows = []
    files = (
        "transformer/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
    )
    for file in (*files, "model_index.json", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"):
        part, last = file.split("/")[0], file.split("/")[-1]
        lenient = Expect.either if "scheduler" in file or "tokenizer_config" in file else Expect.refuse
        rows += [
            trial(f"{file}_missing", lambda m, f=file: (m / f).unlink(), part, last, expect=lenient),
            trial(f"{file}_cut", bytes_of(file, lambda c: c[: len(c) // 2]), part, last, expect=lenient),
            trial(f"{file}_list", bytes_of(file, lambda c: b"[1]"), part, last, expect=lenient),
        ]
    return rows


def of_values() -> list[Trial]:
    """Values of the JSON files that no model has."""
    rows = []
    for number, (file, values) in enumerate(WRONG):
        key = next(iter(values))
        rows.append(
            trial(f"value_{number}_{key}", configured(file, **values), file.split("/")[0], key, "config", "blocks")
        )
    return rows


def of_folders() -> list[Trial]:
    """The folder as a whole, and what else is in it."""
    return [
        trial("code", coded, "text_encoder", "code", expect=Expect.either, check=harmless),
        trial("nothing", lambda m: shutil.rmtree(m)),
        trial("file", lambda m: (shutil.rmtree(m), m.write_text("x"))),
        trial("loop", lambda m: (shutil.rmtree(m), m.symlink_to(m))),
        trial("loop_inside", lambda m: (m / "vae" / "more").symlink_to(m), expect=Expect.accept),
        trial("vocabulary", bytes_of("vocabulary.json", lambda c: b"[1]"), "vocabulary"),
        trial("vocabulary_cut", bytes_of("vocabulary.json", lambda c: c[:20]), "vocabulary"),
    ]


def of_numbers() -> list[Trial]:
    """Weights that make the numbers of a run no numbers."""
    nan, inf = float("nan"), float("inf")
    guided = ("run", *GUIDED, "metrics=fast", *QUIET)
    names = ("nan", "inf", "finite", "diverge")
    cases: list[tuple[str, Change]] = [
        (f"{part}_{label}_{place or 'all'}", filled(file, value, place))
        for label, value in (("nan", nan), ("inf", inf), ("1e30", 1e30))
        for part, file, place in (
            ("transformer", DIT, ""),
            ("transformer", DIT, "blocks.5"),
            ("transformer", DIT, "blocks.0.attn1.to_q"),
            ("transformer", DIT, "proj_out.bias"),
            ("vae", VAE, "decoder"),
            ("vae", VAE, "decoder.conv_out"),
            ("vae", VAE, "encoder"),
            ("text", TEXT, ""),
        )
        if label != "1e30" or (part == "transformer" and place in ("", "proj_out.bias"))
    ]
    cases += [
        (
            "one_nan",
            tensors(
                DIT, lambda s: s | {"proj_out.bias": s["proj_out.bias"].clone().index_fill_(0, torch.tensor(0), nan)}
            ),
        ),
        ("latents_std_zero", configured("vae/config.json", latents_std=[0.0] * 16)),
        ("latents_std_huge", configured("vae/config.json", latents_std=[1e38] * 16)),
        ("latents_mean_nan", configured("vae/config.json", latents_mean=[nan] * 16)),
    ]
    return [
        trial(n, change, *names, kind="numbers", check=unscored, expect=Expect.either, command=guided)
        for n, change in cases
    ]


def rows() -> list[Trial]:
    """Folders of models."""
    return [*of_weights(), *of_configs(), *of_values(), *of_folders()]
