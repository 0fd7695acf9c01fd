"""How much of a camera's pan noisy latents still hold, and how much of that a block reads.

``python -m experiments.probes.pan_limit`` takes held-out world clips whose camera pans, adds noise to their
latents and estimates the displacement between latent frames as an ideal observer of Gaussian textures
would: by the likelihood of each shift given the frames' cross spectra, frequencies weighted by signal
and noise (Knapp & Carter 1976), and its posterior mean. Once from two frames, once from all under a
constant speed. Beside it the attention motion flow of the backbone's block, averaged over the background.
Latent frame 0 holds one video frame where the others hold two, looks different, and is left out.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from experiments import command_line
from experiments.embedded import embedded
from experiments.probes.motion_oracle import SIGMAS
from fastvmt.backbones.base import Backbone
from fastvmt.benchmarks import WorldBenchmark
from fastvmt.files import write_json
from fastvmt.methods.reading import read_motion
from fastvmt.motion.pairs import frame_pairs
from fastvmt.results.provenance import provenance
from fastvmt.schedule import add_noise, seeded_noise
from fastvmt.settings import Guidance, HeadReduce, Window
from fastvmt.types import MotionField, TransferCase

REACH = 3.5
"""Greatest displacement per frame that is looked for, in pixels of the latents; the world's pans reach 3.3."""
SPAN = 2
"""Latent frames between the two of a pair, at most."""


def taper(height: int, width: int) -> Tensor:
    """(H, W) window of mean square 1 that lets the borders, which a pan exchanges, count less."""
    rows, columns = (torch.hann_window(n + 2, periodic=False)[1:-1].sqrt() for n in (height, width))
    window: Tensor = rows[:, None] * columns
    return window / window.square().mean().sqrt()


def spectra(latents_CFHW: Tensor) -> Tensor:
    """Tapered Fourier transforms of every frame, (C, F, H, W), the frame's mean removed."""
    centred = latents_CFHW - latents_CFHW.mean((-1, -2), keepdim=True)
    return torch.fft.fft2(centred * taper(*latents_CFHW.shape[-2:]))


class Texture(NamedTuple):
    """What the observer knows of clean latents, by the clips that it is asked about."""

    rotation_CC: Tensor
    """To uncorrelated channels; white noise stays white."""
    power_CHW: Tensor
    """Mean squared spectrum of those."""

    @classmethod
    def of(cls, clips: list[Tensor]) -> Texture:
        """From clean latents (C, F, H, W)."""
        clean = torch.stack(clips)
        pixels = (clean - clean.mean((-1, -2), keepdim=True)).transpose(0, 1).flatten(1)
        rotation: Tensor = torch.linalg.eigh(pixels @ pixels.T).eigenvectors.T
        rotated = torch.einsum("dc,ncfhw->ndfhw", rotation, clean)
        return cls(rotation, torch.stack([spectra(z).abs().square().mean(1) for z in rotated]).mean(0))


def shift_grid(reach: float, step: float) -> Tensor:
    """Candidate shifts (n, 2) as (dy, dx)."""
    axis = torch.arange(-reach, reach + step / 2, step)
    return torch.cartesian_prod(axis, axis)


def correlation(crossed_HW: Tensor, shifts_n2: Tensor) -> Tensor:
    """(n,) correlation of two frames, given by their cross spectrum, under each shift of the second."""
    height, width = crossed_HW.shape
    y = torch.fft.fftfreq(height)[None, :, None] * shifts_n2[:, 0, None, None]
    x = torch.fft.fftfreq(width)[None, None, :] * shifts_n2[:, 1, None, None]
    matched: Tensor = torch.exp(2j * torch.pi * (y + x)) * crossed_HW
    return matched.real.sum((1, 2))


def estimates(noisy_CFHW: Tensor, texture: Texture, sigma: float) -> tuple[Tensor, Tensor]:
    """Posterior mean displacements (P, 2) of all pairs i < j <= i + SPAN from the two frames alone, and from all
    frames under a constant speed.

    ``noisy_CFHW`` is (1 - sigma) latents + sigma noise. Of F equally powerful frames every pair's log-likelihood
    weighs S / (N (N + F S)) at each frequency, S the signal's power there and N the noise's.
    """
    power, noise = (1 - sigma) ** 2 * texture.power_CHW, sigma**2 * texture.power_CHW[0].numel()
    f = spectra(torch.einsum("dc,cfhw->dfhw", texture.rotation_CC, noisy_CFHW))
    frames = f.shape[1]
    shifts, speeds = shift_grid(SPAN * REACH, 0.5), shift_grid(REACH, 0.25)

    def log_likelihood(i: int, j: int, shared: int, moved_n2: Tensor) -> Tensor:
        crossed = f[:, i].conj() * f[:, j] * power / (noise * (noise + shared * power))
        return correlation(crossed.sum(0), moved_n2)

    near = frame_pairs(frames, SPAN)
    alone = torch.stack([log_likelihood(i, j, 2, shifts).softmax(0) @ shifts for i, j in near])
    pairs = combinations(range(frames), 2)
    together = torch.stack([log_likelihood(i, j, frames, (j - i) * speeds) for i, j in pairs]).sum(0)
    distance = torch.tensor([[j - i] for i, j in near])
    return alone, distance * (together.softmax(0) @ speeds)


def background_flow(field: MotionField, case: TransferCase, factor: int) -> Tensor:
    """(P, 2) flow of the field's pairs, averaged over the tokens where a background point is seen in both frames."""
    assert case.truth is not None
    _, height, width = field.grid
    token = case.reference.size[1] / height
    background = case.truth.owner_N < 0
    means = []
    for flow, (i, j) in zip(field.flow_PS2, field.pairs, strict=True):
        seen = case.truth.visible_NT[:, i * factor] & case.truth.visible_NT[:, j * factor] & background
        at = (case.truth.tracks_NT2[seen, i * factor] / token).long().clamp(0, height - 1)
        means.append(flow.reshape(height, width, 2)[at[:, 1], at[:, 0]].mean(0))
    return torch.stack(means)


def true_path(case: TransferCase, factor: int) -> Tensor | None:
    """Path (F, 2) of the background as (dy, dx) in pixels of the video; None unless all its points move alike."""
    assert case.truth is not None
    tracks = case.truth.tracks_NT2[case.truth.owner_N < 0, ::factor]
    moved = tracks - tracks[:, :1]
    return None if moved[:, -1].std(0).max() > 0.5 else moved.mean(0).flip(-1)


def cosine(found: Tensor, true: Tensor) -> float:
    """Of all displacements of a clip, concatenated."""
    return float(torch.nn.functional.cosine_similarity(found.flatten(), true.flatten(), dim=0))


@torch.no_grad()
def measure(backbone: Backbone, cases: list[TransferCase], block: int, seeds: int) -> dict[str, Tensor]:
    """Cosines with the truth (levels, clips), averaged over ``seeds`` start noises per clip."""
    factor = backbone.layout.temporal_factor
    null = backbone.embed("")
    guidance = Guidance(block=block, rope=False, head_reduce=HeadReduce.mean_logit)
    clean = [backbone.encode(case.reference) for case in cases]
    texture = Texture.of([z[0, :, 1:] for z in clean])
    rows: dict[str, Tensor] = {
        name: torch.zeros(len(SIGMAS), len(cases)) for name in ("two frames", "all frames", f"block {block}")
    }
    for clip, (case, z) in enumerate(track(list(zip(cases, clean, strict=True)), "clips")):
        path = true_path(case, factor)
        assert path is not None
        for level, sigma in enumerate(SIGMAS):
            for seed in range(seeds):
                noisy = add_noise(z, seeded_noise(tuple(z.shape), 1000 * clip + seed, z.device), sigma)
                field, _ = read_motion(backbone, noisy, sigma, null, guidance, Window(l=0, sf=SPAN, tau=4.0))
                kept = torch.tensor([i > 0 for i, _ in field.pairs])
                true = torch.stack([path[j] - path[i] for i, j in field.pairs if i > 0])
                found = (*estimates(noisy[0, :, 1:], texture, sigma), background_flow(field, case, factor)[kept])
                for row, displacement in zip(rows.values(), found, strict=True):
                    row[level, clip] += cosine(displacement, true) / seeds
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-wan")
    parser.add_argument(
        "--cases", type=command_line.count, default=60, help="camera clips drawn; those that pan are used"
    )
    parser.add_argument("--block", type=int, default=4)
    parser.add_argument("--seeds", type=command_line.count, default=3, help="start noises per clip")
    command_line.add_results(parser)
    arguments = parser.parse_args()
    backbone = embedded(arguments.model)
    benchmark = WorldBenchmark(backbone.layout.clip, 8, 0, cases=arguments.cases, categories=["camera"], seed=100)
    drawn = [benchmark[i] for i in range(len(benchmark))]
    cases = [case for case in drawn if true_path(case, backbone.layout.temporal_factor) is not None]
    rows = measure(backbone, cases, arguments.block, arguments.seeds)
    table = Table("noise level", *map(str, SIGMAS), title=f"cosine with the true pan, {len(cases)} clips")
    content = {}
    for name, values in rows.items():
        mean, error = values.mean(1).tolist(), (values.std(1) / len(cases) ** 0.5).tolist()
        content[name] = {"mean": mean, "standard_error": error}
        table.add_row(name, *(f"{m:.2f} ± {e:.2f}" for m, e in zip(mean, error, strict=True)))
    Console().print(table)
    facts = {"sigmas": SIGMAS, "clips": len(cases), "seeds": arguments.seeds, "weights": backbone.fingerprint}
    write_json(arguments.results / "pan_limit.json", facts | {"cosine": content} | provenance())


if __name__ == "__main__":
    command_line.run(main)
