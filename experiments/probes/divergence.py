"""How far the latents and losses of healthy runs stay from the limits of :mod:`fastvmt.divergence`.

``python -m experiments.probes.divergence [override ...]`` runs every method on tiny-wan as it is and with its rate or
weight times 10, 100 and 1000, and prints the largest norm of the latents over the schedule's, the largest loss over
those of the first iterations, and how the run ended. Overrides: ``benchmark.cases=2 sampler.steps=8``, say.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence

from torch import Tensor

from experiments import command_line
from fastvmt.compose import composed
from fastvmt.config import config_folder
from fastvmt.divergence import FIRST, expected_rms, rms
from fastvmt.engine.session import Session, open_session
from fastvmt.engine.transfer import DivergedCase
from fastvmt.errors import UserError

STRENGTH = {
    "fastvmt": ("guidance.lr", "guidance.lr_end"),
    "fastvmt_fork": ("guidance.lr", "guidance.lr_end"),
    "fastvmt_official": ("guidance.lr", "guidance.lr_end"),
    "fastvmt_released": ("guidance.lr", "guidance.lr_end"),
    "motionclone": ("method.weight",),
    "det": ("method.tuning.lr",),
    "motion_director": ("method.tuning.lr",),
    "motion_inversion": ("method.tuning.lr",),
    "none": ("sampler.cfg_scale",),
    "sdedit": ("sampler.cfg_scale",),
}
"""What is multiplied; of other methods ``method.lr`` and ``method.lr_end``."""
NEEDED = {"sdedit": ("sampler.strength=0.75",)}


def growth(rows: Sequence[dict[str, float]]) -> float:
    """The largest loss over the largest of the first iterations, of tuning and of guidance apart."""
    found = 0.0
    for tuning in (True, False):
        losses = [row["loss"] for row in rows if (row["step"] < 0) == tuning]
        if len(losses) > FIRST and max(losses[:FIRST]) > 0:
            found = max(found, max(losses[FIRST:]) / max(losses[:FIRST]))
    return found


def measure(session: Session) -> tuple[float, float, str]:
    """Largest norm over the expected one, largest growth, and the ends, over the cases of a session."""
    plan = session.plan
    norm = 0.0
    grown = 0.0
    ends = []
    for case in (plan.cases[i] for i in range(len(plan.cases))):
        method = plan.method
        rows = []
        norms = []
        clean = rms(session.backbone.encode(case.reference))
        own = type(plan.method).step

        def step(job: object, i: int, x: Tensor, sigma: float, following: float) -> Tensor:
            x = own(method, job, i, x, sigma, following)  # noqa: B023
            norms.append(rms(x) / expected_rms(following, clean))  # noqa: B023
            return x

        vars(method)["step"] = step
        made = session.attempt(case, on_iteration=rows.append)
        if isinstance(made, DivergedCase):
            ends.append(str(made.error.found)[:90])
        norm, grown = max([norm, *norms]), max(grown, growth(rows))
    return norm, grown, "; ".join(dict.fromkeys(ends)) or "healthy"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", help="default: all of conf/method")
    parser.add_argument("--times", nargs="+", type=float, default=[1, 10, 100, 1000], help="factors of the rate")
    parser.add_argument("overrides", nargs="*")
    a = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    shared = ["benchmark=world", "metrics=none", "cache_dir=null", *a.overrides]
    session = open_session(composed(shared))
    for name in a.methods or sorted(file.stem for file in (config_folder() / "method").glob("*.yaml")):
        words = [*shared, f"method={name}", *NEEDED.get(name, ())]
        keys = STRENGTH.get(name, ("method.lr", "method.lr_end"))
        base = composed(words)
        for times in a.times:
            values = {key: times * read(base, key) for key in keys}
            try:
                norm, grown, end = measure(session.under(composed(words, values)))
            except UserError:  # beyond the range of the key
                continue
            sys.stdout.write(f"{name:18} x {times:<6g} norm {norm:<10.4g} growth {grown:<10.4g} {end}\n")
            sys.stdout.flush()


def read(cfg: object, key: str) -> float:
    """A number of a configuration by its dotted key."""
    for part in key.split("."):
        cfg = cfg[part]  # type: ignore[index]
    return float(cfg)  # type: ignore[arg-type]


if __name__ == "__main__":
    command_line.run(main)
