"""What Hydra and OmegaConf say of overrides they cannot take, in one line with the nearest name that they would."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf

from fastvmt.config import config_folder
from fastvmt.errors import first_line
from fastvmt.versions import BASE

HELP = "python run.py --help lists all"
LAUNCHERS = ("joblib", "submitit_local", "submitit_slurm")
"""Hydra's own that come with packages."""
NO_KEY = r"(?:Could not override|Could not delete from config\.|No earlier Group Default for)"
"""How Hydra 1.3 and 1.4 begin to name what they do not know."""
WRITING = "Unable to configure handler"
"""How logging begins to say that the log's file cannot be opened."""


def explained(error: Exception, overrides: Sequence[str]) -> str:
    """One line about an error of the composition with ``overrides``, or of Hydra's writing before the job begins."""
    if isinstance(error, MissingConfigException):
        return missing(error, overrides)
    if isinstance(error, OverrideParseException):
        return unreadable(error)
    cause = error.__cause__
    if isinstance(error, OSError) or (isinstance(cause, OSError) and str(error).startswith(WRITING)):
        return unwritable(error if isinstance(error, OSError) else cause, overrides)
    said = f"{error}"
    if "'beside'" in said or "hydra.sweeper.beside" in said:
        return "rows beside a grid (hydra.sweeper.beside) need hydra/sweeper=grid"
    if match := re.search(rf"In '([^']+)':(?s:.*){NO_KEY} '([^'@]+)@", said):
        return f"{match[1]}.yaml overrides {match[2]} below itself: its first line has to be # @package _global_"
    if match := re.search(rf"{NO_KEY} '([^']+)'", said):
        return f"{match[1]} is no key{nearest(match[1], known_keys(overrides))}; {HELP}"
    if match := re.search(r"An item is already at '([^']+)'", said):
        return f"+{match[1]} is there already: write {match[1]}=<value> without +"
    if match := re.search(r"Error merging override (.*)", said):
        return f"{match[1]}: {first_line(cause or error)}"  # OmegaConf's other lines locate it
    if match := re.search(r"Ambiguous value for argument '(.*)'", said):
        key, _, value = match[1].partition("=")
        return f"{match[1]} means several jobs: add -m; a list is {key}=[{value}], a text is '{key}=\"{value}\"'"
    if match := re.search(r"Multiple values for ([^.]+)\.", said):
        return f"{match[1]} is given twice: write {match[1]}=<option> once, without +"
    whole = " ".join(f"{said.partition('Config search path')[0]} {first_line(cause) if cause else ''}".split())
    return f"the settings {shown(overrides)} cannot be composed: {whole or type(error).__name__}"


def shown(overrides: Sequence[str]) -> str:
    """Overrides as they were given."""
    return " ".join(overrides) or "of the yaml files"


def missing(error: MissingConfigException, overrides: Sequence[str]) -> str:
    """An option, or a file, that is not there."""
    if error.options is None:
        return " ".join(f"{error}".partition("Config search path")[0].split())
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    if group == "hydra/launcher" and option in LAUNCHERS:
        return 'the launchers of sweeps are packages of their own: pip install "fastvmt[launchers]"'
    if (group, option) == ("hydra/sweeper", "optuna"):
        return 'searches need a package of their own: pip install "fastvmt[search]"'
    listed = ", ".join(error.options)
    return f"{group}={option} is no option of {group}{nearest(option, error.options)}; it has {listed}"


def unreadable(error: OverrideParseException) -> str:
    """An argument that Hydra's grammar does not take."""
    word = str(error.override)
    if "missing EQUAL" in str(error):
        known = known_keys([])
        return f"{word} has no =: write {word}=<value>{'' if word in known else nearest(word, known)}; {HELP}"
    return f"{word} cannot be read: give a text with such characters quoted twice, as in 'key=\"a, [b]\"'"


def unwritable(error: BaseException | None, overrides: Sequence[str]) -> str:
    """The output folder, where Hydra writes its own files before a job begins."""
    reason = getattr(error, "strerror", None) or first_line(error or OSError())
    given = [word.partition("=")[2] for word in overrides if word.lstrip("+").startswith("output_dir=")]
    folder = given[-1] if given else getattr(error, "filename", None) or "outputs"
    return f"output_dir={folder} cannot be written to: {reason}; set output_dir=<folder>"


def nearest(name: str, names: Iterable[str]) -> str:
    """The most similar name, as the end of a clause; nothing where none is similar."""
    by_small = {known.lower(): known for known in names}
    found = get_close_matches(name.lower(), by_small, n=1)
    return f", the nearest is {by_small[found[0]]}" if found else ""


def known_keys(overrides: Sequence[str]) -> list[str]:
    """Every key of the configuration that those of ``overrides`` choose that name an option of a group."""
    with initialize_config_dir(**BASE, config_dir=str(config_folder())):
        chosen = [word for word in overrides if is_option(word)]
        try:
            found = compose("config", overrides=chosen)
        except HydraException:  # a chosen file is what cannot be composed
            found = compose("config")
        return list(keys(OmegaConf.to_container(found)))


def is_option(word: str) -> bool:
    """Whether an argument chooses a yaml file that is there."""
    group, _, option = word.partition("=")
    return bool(option) and Path(config_folder(), group, f"{option}.yaml").is_file()


def keys(node: Any, above: str = "") -> Iterator[str]:
    """Dotted names of everything at and below a node."""
    if not isinstance(node, dict):
        return
    for name, below in node.items():
        yield f"{above}{name!s}"
        yield from keys(below, f"{above}{name!s}.")
