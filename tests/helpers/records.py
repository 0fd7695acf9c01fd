"""A record of a finished case, for tests of whatever reads records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastvmt.cost.cost import Cost, Energy
from fastvmt.results.case_record import VERSION, CaseRecord
from fastvmt.types import PassCounter

NO_ENERGY = Energy(None, "not a CUDA device", None, None, None)
SECONDS = {"encode": 0.5, "guide": 2.0, "denoise": 4.0, "decode": 0.5, "total": 7.0}


def case_record(name: str, **changes: Any) -> CaseRecord:
    """A record as a finished transfer on a CPU has it; ``changes`` replace fields."""
    cost = Cost(
        seconds={"loop_with_reference": 6.0, "total": 7.0, "metrics": 0.5, "save": 0.25},
        wall_seconds={"denoise": 4.0},
        host_bound=None,
        process_cpu_seconds=7.0,
        cpu_seconds={"encode": 0.4, "guide": 1.9, "denoise": 3.9, "decode": 0.4},
        others_cpu_seconds=0.1,
        contended=False,
        threads=1,
        memory_gib={"allocated": None, "reserved": None, "device": {"guide": None}, "resident": {"guide": 0.5}},
        energy=NO_ENERGY,
        cpu_energy=NO_ENERGY,
        transformer_flops=None,
    )
    record = CaseRecord(
        version=VERSION,
        id=name,
        config="c",
        algorithm=1,
        weights="w",
        case="k",
        prompt="a dog on grass",
        reference="a star on night",
        category="camera",
        seed=0,
        frames=9,
        size=[48, 48],
        fps=8.0,
        frames_sha256={"generated": "0", "reference": "1"},
        scores={"motion_fidelity": 0.5},
        notes={},
        score_versions={"motion_fidelity": 2},
        judges={"motion_fidelity": "j"},
        vbench_compat=False,
        pooled=[],
        seconds=SECONDS,
        passes=PassCounter(300, 96, 24),
        declared_passes=PassCounter(288, 96, 24),
        cost=cost,
        reference_cache={"hits": 0, "misses": 1},
        peak_memory_gib={"process": 0.5},
        device="cpu",
        maker={"commit": "c0ffee", "hardware": "a processor", "fastvmt": "0.1.0", "torch": "2.9.0"},
        files={},
    )
    return replace(record, **changes)
