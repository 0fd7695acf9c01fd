"""Settings with which a run's numbers leave their range."""

from __future__ import annotations

from experiments.checks.rows import models
from experiments.checks.rows.small import GUIDED, QUIET, unscored
from experiments.checks.trial import Expect, Trial

SETTINGS = (
    ("guidance.lr=1e30", "guidance.lr_end=1e30"),
    ("guidance.lr=100", "guidance.lr_end=100"),
    ("guidance.amf_weight=1e38",),
    ("window.tau=1e38",),
    ("sampler.cfg_scale=1e30",),
    ("sampler.shift=1e30",),
    ("sampler.shift=1e-30",),
    ("method=flowmotion", "method.lr=1e20", "method.lr_end=1e20", "method.fraction=1"),
    ("method=smm", "method.lr=1e20", "method.lr_end=1e20", "method.fraction=1"),
    ("method=motionclone", "method.weight=1e30", "method.fraction=1"),
    ("method=motion_inversion", "method.tuning.iterations=2", "method.tuning.lr=1e30"),
    ("method=motion_director", "method.tuning.iterations=2", "method.tuning.lr=1e30"),
    ("method=det", "method.tuning.iterations=2", "method.tuning.lr=1e30"),
)


def rows() -> list[Trial]:
    """Weights and settings that make numbers no numbers."""
    names = ("lr", "nan", "inf", "finite", "diverge", "weight", "tau", "cfg_scale", "shift")
    wild = [
        Trial(
            "numbers",
            " ".join(words),
            ("run", *GUIDED, *words, "metrics=fast", *QUIET),
            Expect.either,
            names,
            check=unscored,
        )
        for words in SETTINGS
    ]
    return [*models.of_numbers(), *wild]
