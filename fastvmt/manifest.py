"""Clips as a benchmark: ``python -m fastvmt.manifest clips/ prompts.yaml bench.jsonl --license "CC BY 4.0"``."""

from __future__ import annotations

from fastvmt.stopping import Stopping

if __name__ == "__main__":
    with Stopping("fastvmt.manifest", "start it again") as stopping:
        from fastvmt.benchmarks.manifest_command import main  # takes seconds

        stopping.working = True
        main()
