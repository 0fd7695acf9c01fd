"""Are holes known in the installed packages? Asks pip-audit, whose database is on the network.

``python -m experiments.checks.audit`` (extra ``audit``) writes ``audit.json``: the date, the versions, and what
was found or why nothing could be asked. Exit code 0 without holes, 1 with some, 2 if the database gave no answer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from experiments import command_line
from fastvmt.files import write_json

OPTIONS = ("--format", "json", "--progress-spinner", "off", "--timeout", "10")


def ask(python: str, packages: str) -> dict[str, Any]:
    """Ask about the packages of a folder; ``answered`` is False where the database told nothing."""
    command = [python, "-m", "pip_audit", "--path", packages, *OPTIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        listed = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {"answered": False, "reason": last[:300]}
    known = [each for each in listed if "vulns" in each]
    unknown = {each["name"]: each.get("skip_reason", "") for each in listed if "vulns" not in each}
    if not known:  # an index without answers leaves every package out, which is no good news
        reason = next(iter(unknown.values()), "no packages")
        return {"answered": False, "reason": f"all {len(unknown)} packages left out, the first: {reason}"}
    return {
        "answered": True,
        "packages": {each["name"]: each["version"] for each in known},
        "left_out": unknown,
        "holes": {each["name"]: each["vulns"] for each in known if each["vulns"]},
    }


def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--python", default=sys.executable, help="an interpreter that has pip-audit (default: this one)")
    command_line.add_results(p)
    arguments = p.parse_args(argv)
    answer = ask(arguments.python, sysconfig.get_paths()["purelib"])
    write_json(arguments.results / "audit.json", {"date": datetime.now(UTC).date().isoformat(), **answer})
    if not answer["answered"]:
        sys.stderr.write(f"audit: no answer from pip-audit's database: {answer['reason']}\n")
        return 2
    sys.stdout.write(
        f"{len(answer['packages'])} packages, holes in {', '.join(answer['holes']) or 'none'}, "
        f"{len(answer['left_out'])} left out\n"
    )
    return int(bool(answer["holes"]))


if __name__ == "__main__":
    command_line.run(main)
