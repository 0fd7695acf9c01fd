"""How much of a camera's pan is left in noisy latents, and how much of that block 4 reads.

``python -m experiments.pan_limit`` takes held-out world clips whose camera pans, adds noise to their
latents and estimates the displacement between two latent frames by maximum likelihood: for Gaussian
textures of a known spectrum, the shift under which the two noisy frames correlate most, frequencies
weighted by signal and noise (Knapp & Carter 1976, the maximum-likelihood processor). Nothing that
sees two frames only can be expected to read much more. Beside it: all frames at once under the
assumption of a constant speed, and the attention motion flow of the backbone's block.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from experiments.motion_oracle import SIGMAS, agreement
from fastvmt.backbones.wan import WanBackbone
from fastvmt.benchmarks import WorldBenchmark
from fastvmt.methods.reading import read_motion
from fastvmt.sampling import add_noise, seeded_noise
from fastvmt.settings import Guidance, Window
from fastvmt.types import TransferCase

PAIR_REACH, SPEED_REACH = 6.0, 3.0
"""Greatest displacement between two frames, and per frame, that is looked for, in pixels of the latents."""


def taper(height: int, width: int) -> Tensor:
    """(H, W) window of mean square 1 that lets the borders, which a pan exchanges, count less."""
    rows, columns = (torch.hann_window(n + 2, periodic=False)[1:-1].sqrt() for n in (height, width))
    window = rows[:, None] * columns
    return window / window.square().mean().sqrt()


def spectra(latents_CFHW: Tensor) -> Tensor:
    """Tapered Fourier transforms of every frame, (C, F, H, W), the frame's mean removed."""
    centred = latents_CFHW - latents_CFHW.mean((-1, -2), keepdim=True)
    return torch.fft.fft2(centred * taper(*latents_CFHW.shape[-2:]))


def shift_grid(reach: float, step: float) -> Tensor:
    """Candidate shifts (n, 2) as (dy, dx)."""
    axis = torch.arange(-reach, reach + step / 2, step)
    return torch.cartesian_prod(axis, axis)


def likelihood(crossed_HW: Tensor, shifts_n2: Tensor) -> Tensor:
    """(n,) correlation of two frames, given as weighted cross spectrum, under each shift of the second."""
    height, width = crossed_HW.shape
    y = torch.fft.fftfreq(height)[None, :, None] * shifts_n2[:, 0, None, None]
    x = torch.fft.fftfreq(width)[None, None, :] * shifts_n2[:, 1, None, None]
    return (torch.exp(2j * torch.pi * (y + x)) * crossed_HW).real.sum((1, 2))


def estimates(noisy_CFHW: Tensor, power_CHW: Tensor, sigma: float, span: int) -> tuple[Tensor, Tensor]:
    """Displacements (P, 2) of all pairs i < j <= i + span, and one speed (2,) per frame from all pairs.

    Args:
        noisy_CFHW: (1 - sigma) latents + sigma noise.
        power_CHW: mean squared spectrum of clean latents.
    """
    power, floor = (1 - sigma) ** 2 * power_CHW, sigma**2 * power_CHW[0].numel()
    weight = power / (floor * (floor + 2 * power))
    f, frames = spectra(noisy_CFHW), noisy_CFHW.shape[1]
    near, speeds = shift_grid(PAIR_REACH, 0.5), shift_grid(SPEED_REACH, 0.25)
    found, total = [], torch.zeros(len(speeds))
    for i in range(frames):
        for j in range(i + 1, frames):
            crossed = (weight * f[:, i].conj() * f[:, j]).sum(0)
            total += likelihood(crossed, (j - i) * speeds)
            if j <= i + span:
                found.append(near[likelihood(crossed, near).argmax()])
    return torch.stack(found), speeds[total.argmax()]


def true_path(case: TransferCase, factor: int, scale: float) -> Tensor:
    """Path (F, 2) of the background as (dy, dx), in pixels of the latents; all its points share a pan's."""
    assert case.truth is not None
    tracks = case.truth.tracks_NT2[case.truth.owner_N < 0, ::factor]
    return (tracks - tracks[:, :1]).mean(0).flip(-1) / scale


def is_pan(case: TransferCase) -> bool:
    """Whether all points of the background move alike."""
    assert case.truth is not None
    tracks = case.truth.tracks_NT2[case.truth.owner_N < 0]
    return bool((tracks[:, -1] - tracks[:, 0]).std(0).max() < 0.5)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))


@torch.no_grad()
def measure(backbone: WanBackbone, cases: list[TransferCase], block: int, span: int) -> dict[str, list[float]]:
    """Mean cosine with the truth, per noise level."""
    factor, null, guidance = backbone.layout.temporal_factor, backbone.embed(""), Guidance(block=block)
    clean = [backbone.encode(case.reference) for case in cases]
    power = torch.stack([spectra(z[0]).abs().square().mean(1) for z in clean]).mean(0)
    rows: dict[str, list[float]] = {"two frames": [], "all frames, constant speed": [], f"block {block}": []}
    for sigma in SIGMAS:
        cosines = []
        for case, z in zip(cases, clean, strict=True):
            noisy = add_noise(z, seeded_noise(tuple(z.shape), 1234, z.device), sigma)
            pairs, speed = estimates(noisy[0], power, sigma, span)
            path = true_path(case, factor, case.reference.size[1] / z.shape[-2])
            true = torch.stack(
                [path[j] - path[i] for i in range(len(path)) for j in range(i + 1, len(path)) if j <= i + span]
            )
            field, _ = read_motion(backbone, noisy, sigma, null, guidance, Window(l=0, sf=span, tau=4.0))
            flow = agreement(field, case, factor, "background")
            cosines.append((cosine(pairs, true), cosine(speed, path[-1] - path[0]), flow))
        for name, values in zip(rows, zip(*cosines, strict=True), strict=True):
            rows[name].append(sum(values) / len(values))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=60, help="camera clips drawn; those that pan are used")
    parser.add_argument("--block", type=int, default=4)
    parser.add_argument("--span", type=int, default=2, help="latent frames between the two of a pair, at most")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "pan_limit.json")
    arguments = parser.parse_args()
    backbone = WanBackbone(
        "tiny-wan", name="tiny-wan", frames=9, height=96, width=96, fps=8, max_tokens=16, dtype="float32"
    )
    benchmark = WorldBenchmark(backbone.layout, 8, 0, cases=arguments.cases, categories=["camera"], seed=100)
    cases = [case for i in range(len(benchmark)) if is_pan(case := benchmark[i])]
    rows = measure(backbone, cases, arguments.block, arguments.span)
    table = Table("noise level", *map(str, SIGMAS), title=f"cosine with the true pan, {len(cases)} clips")
    for name, values in rows.items():
        table.add_row(name, *(f"{v:.2f}" for v in values))
    Console().print(table)
    arguments.out.write_text(json.dumps({"sigmas": SIGMAS, "clips": len(cases), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
