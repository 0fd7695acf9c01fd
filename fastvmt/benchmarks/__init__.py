"""Where cases come from: the moving-emoji world, one clip of the user's, or a manifest of clips."""

from fastvmt.benchmarks.base import Benchmark, Lost
from fastvmt.benchmarks.manifest import ManifestBenchmark
from fastvmt.benchmarks.seeds import Seeds, check_seeds
from fastvmt.benchmarks.single import SingleClip
from fastvmt.benchmarks.world import BENCHMARK_SPLIT, WorldBenchmark

__all__ = [
    "BENCHMARK_SPLIT",
    "Benchmark",
    "Lost",
    "ManifestBenchmark",
    "Seeds",
    "SingleClip",
    "WorldBenchmark",
    "check_seeds",
]
