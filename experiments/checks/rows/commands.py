"""Command lines that cannot be composed: misspelt keys and options, wrong types, Hydra's grammar, devices."""

from __future__ import annotations

from experiments.checks.rows.small import DRY, GUIDED, QUIET
from experiments.checks.trial import Expect, Trial

WORDS = {
    "key_case": ("window.L=5", "window.l"),
    "key_of_group": ("methd=ditflow", "method"),
    "key_of_option": ("metrics.clip.modl=x", "metrics.clip.model"),
    "option": ("method=ditflw", "ditflow"),
    "option_of_experiment": ("experiment=smok", "smoke"),
    "type": ("window.l=abc", "window.l"),
    "no_integer": ("skip.delta=1.5", "skip.delta"),
    "null": ("skip.delta=null", "skip.delta"),
    "enum": ("logger.mode=on", "logger.mode"),
    "bracket": ("window.tile=[3", "window.tile"),
    "grammar": ("foo[=", "foo["),
    "no_equals": ("window.l", "window.l"),
    "no_key": ("=5", "=5"),
    "group_is_number": ("window=5", "window"),
    "there_already": ("+window.l=5", "window.l"),
    "not_there": ("~window.q", "window.q"),
    "several": ("window.l=3,5", "window.l"),
    "twice": ("+experiment=smoke", "experiment"),
    "interpolation": ("seed=${nothing}", "nothing"),
    "flag": ("--foo", "--foo"),
    "yaml": ("--config-name=foo", "foo"),
    "yaml_folder": ("--config-dir=/nonexistent", "/nonexistent"),
    "threads": ("threads=1000000", "threads"),
    "checkpoint_steps": ("checkpoint_steps=0", "checkpoint_steps"),
}
"""One argument, and what the line must name."""


def rows() -> list[Trial]:
    """A trial for each, and of what is checked before weights load."""
    there = ("run", *GUIDED[1:], "metrics=none", *QUIET)
    return [
        *(Trial("commands", name, (*DRY, word), Expect.refuse, (names,)) for name, (word, names) in WORDS.items()),
        *(
            Trial("commands", f"sweep_{name}", ("run", "-m", *DRY[1:], word), Expect.refuse, (names,))
            for name, (word, names) in (
                ("type", ("window.l=3,abc", "window.l")),
                ("range", ("seed=range(1", "range(1")),
            )
        ),
        Trial("commands", "devices", (*there, "trainer.devices=1000000"), Expect.refuse, ("trainer.devices",)),
        Trial("commands", "gpu", (*there, "trainer.accelerator=gpu"), Expect.either, ("trainer.accelerator",)),
    ]
