"""A line of the comparison's log, for the tests of the log and of the report."""

from __future__ import annotations


def line(method: str, name: str, fidelity: float | None = 0.5, start: float = 1.0, **other: object) -> dict:
    """A line as a finished transfer writes it."""
    seconds = {"encode": 0.5, "guide": 2.0, "denoise": 4.0, "decode": 0.5, "total": 7.0}
    return {
        "method": method,
        "start": start,
        "seed": 0,
        "id": name,
        "category": "camera",
        "weights": "w",
        "score_versions": {"motion_fidelity": 2},
        "settings": f"{method}{start:g}",
        "case": name[0].upper(),
        "commit": "c",
        "device": "d",
        "threads": 1,
        "scores": {"motion_fidelity": fidelity, "trajectory_cosine": None},
        "seconds": seconds,
        "passes": {"gradients": 24, "block_forwards": 300, "block_backwards": 96},
        "plain_seconds": 3.0,
        "declared_gradients": 24,
        "peak_gib": {"resident": 0.5, "allocated": None},
        **other,
    }
