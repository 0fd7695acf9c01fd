"""What the versions of Hydra and OmegaConf that may be installed are told differently. Imports no torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import hydra
from omegaconf import OmegaConf

from fastvmt.construct import trusted_packages

BASE = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
"""Hydra 1.3 wants to be told that its own behaviour is meant; later versions have it, and warn when told."""
SAMPLERS = "optuna.samplers"
"""What the nodes of a search name: Hydra's sweeper for Optuna makes its sampler by name."""


def main_options() -> dict[str, Any]:
    """Give what ``hydra.main`` is told: from 1.4 on also which classes Hydra's own nodes may name, such as callbacks.

    The groups of a configuration are not Hydra's: :mod:`fastvmt.construct` makes their objects.
    """
    if "execution_whitelist" not in inspect.signature(hydra.main).parameters:
        return dict(BASE)
    return BASE | {"execution_whitelist": [f"{package}.*" for package in (*trusted_packages(), SAMPLERS)]}


def register_resolver(name: str, function: Callable[..., Any]) -> None:
    """Make ``${name:}`` known to OmegaConf, whose 2.4 gave the function another name."""
    # 2.3 has a function of that name too, which keeps an older behaviour
    new = "annotation_validation" in inspect.signature(OmegaConf.register_resolver).parameters
    register: Any = OmegaConf.register_resolver if new else OmegaConf.register_new_resolver
    register(name, function, replace=True)
