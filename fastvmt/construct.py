"""Objects from the groups of a configuration that name a class. Nothing but trusted classes is ever called.

pydantic's ``validate_call`` would hold values against the same signatures. It stays out: when strict it refuses the
lists and maps of OmegaConf, otherwise it takes true for 1 and the text 3 for the number; and arguments that are objects
are nodes still while they are checked, which is before anything is built.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Container, Iterator, Mapping, Sequence
from importlib import import_module
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fastvmt.errors import UserError

PLUGINS = "FASTVMT_PLUGINS"
"""The environment variable that names packages of the user's own, separated by commas, whose classes may be called
too. No key of the configuration: that would vouch for itself."""


def plugins() -> list[str]:
    """The packages that the user trusts."""
    named = (package.strip() for package in os.environ.get(PLUGINS, "").split(","))
    return [package for package in named if package]


def trusted_packages() -> list[str]:
    """The packages whose classes may be called: ours and the user's."""
    return ["fastvmt", *plugins()]


def trusted(name: str) -> bool:
    """Whether a dotted name lies inside one of them."""
    return any(name.startswith(f"{package}.") for package in trusted_packages())


def trusted_target(node: DictConfig, key: str) -> str:
    """``node._target_``; :class:`UserError` unless it is a trusted name. Imports nothing."""
    target = str(node["_target_"])
    if not trusted(target):
        raise UserError(
            f"{key}._target_={target} is no class of fastvmt, and a configuration runs no other code: "
            f"for a package of your own set {PLUGINS}=<package> in the environment"
        )
    return target


def class_of(node: DictConfig, key: str) -> type:
    """The class that ``node._target_`` names; imports trusted modules only.

    Raises :class:`UserError` for anything else, also where a trusted name leads out: ``fastvmt.config.Path`` is
    pathlib's.
    """
    target = trusted_target(node, key)
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name, None)
    except ImportError as error:
        raise UserError(f"{key}._target_={target} cannot be imported: {error}") from error
    if not isinstance(found, type) or not trusted(f"{found.__module__}."):
        raise UserError(f"{key}._target_={target} is no class of {target.partition('.')[0]}")
    return found


def class_nodes(value: object, key: str) -> Iterator[tuple[str, DictConfig]]:
    """Every node at or below ``value`` that names a class, outer ones first, with its key."""
    if isinstance(value, DictConfig):
        if "_target_" in value:
            yield key, value
        for name in value:
            yield from class_nodes(value[name], f"{key}.{name!s}")
    elif isinstance(value, ListConfig):
        for index, item in enumerate(value):
            yield from class_nodes(item, f"{key}[{index}]")


def fits(value: object, hint: Any) -> bool:
    """Whether a value of a configuration is of a plain type, or a list or a map of such; true of other hints."""
    if isinstance(hint, UnionType):
        return any(fits(value, each) for each in get_args(hint))
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (list, Sequence):
        return isinstance(value, ListConfig) and all(fits(item, inner[0]) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, DictConfig) and all(fits(item, inner[1]) for item in value.values())
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    return type(value) is hint or hint not in (int, str, bool, NoneType)


def spelled(hint: Any) -> str:
    """A type in words."""
    if isinstance(hint, UnionType):
        return " or ".join(map(spelled, get_args(hint)))
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (list, Sequence):
        return f"a list of {spelled(inner[0])}"
    if origin in (dict, Mapping):
        return "a map of keys to values"
    return {float: "a finite number", NoneType: "null"}.get(hint, getattr(hint, "__name__", str(hint)))


def mistyped(value: object, hint: Any) -> str | None:
    """What a hint of plain types allows, if ``value`` is none of it."""
    return None if fits(value, hint) else spelled(hint)


def check_signature(node: DictConfig, key: str, given: Container[str] = ()) -> None:
    """Raise :class:`UserError` for an argument that the class of ``node`` lacks or needs, or of a wrong plain type."""
    target = class_of(node, key)
    try:
        known = inspect.signature(target, eval_str=True).parameters
    except NameError:  # annotations that exist for type checkers only stay strings, which no value is held against
        known = inspect.signature(target).parameters
    for each, value in node.items():
        name = str(each)
        if name == "_target_":
            continue
        if name not in known:
            legal = ", ".join(sorted(each for each in known if each not in given))
            raise UserError(f"{key}.{name} is not a key of {key}; it has {legal}")
        if (wanted := mistyped(value, known[name].annotation)) is not None:
            raise UserError(f"{key}.{name}={value} is out of range: it must be {wanted}")
    for name, parameter in known.items():
        if name not in node and name not in given and needed(parameter):
            raise UserError(f"{key}.{name} is missing: give it in the yaml file, or add +{key}.{name}=..")


def needed(parameter: inspect.Parameter) -> bool:
    """Whether a call has to name a parameter."""
    return parameter.default is parameter.empty and parameter.kind in (
        parameter.POSITIONAL_OR_KEYWORD,
        parameter.KEYWORD_ONLY,
    )


def check_arguments(node: DictConfig, group: str, given: Container[str] = ()) -> None:
    """The signature of a class is its schema, at every depth; ``given`` are arguments that the program gives.

    Raises :class:`UserError`. All names are checked before the first is imported.
    """
    if node is None or "_target_" not in node:
        raise UserError(f"{group} is not chosen: set {group}=<option>, see python run.py --help")
    try:
        found = list(class_nodes(node, group))
        for key, each in found:
            trusted_target(each, key)
        for key, each in found:
            check_signature(each, key, given if key == group else ())
    except OmegaConfBaseException as error:
        raise UserError(f"{group}: {' '.join(str(error).split())}") from error


def built(value: object, key: str, **extra: Any) -> Any:
    """What a node stands for: an object where it names a class, settings as their dataclass, else plain containers."""
    if isinstance(value, ListConfig):
        return [built(item, f"{key}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, DictConfig):
        return value
    if "_target_" not in value and OmegaConf.get_type(value) is not dict:
        return OmegaConf.to_object(value)
    items = {str(name): built(value[name], f"{key}.{name!s}") for name in value if name != "_target_"}
    return class_of(value, key)(**items | extra) if "_target_" in value else items


def construct(node: DictConfig, group: str, **extra: Any) -> Any:
    """Call the class that a group names, with its keys as arguments and ``extra``. Raises :class:`UserError`."""
    check_arguments(node, group, extra)
    try:
        return built(node, group, **extra)
    except TypeError as error:
        raise UserError(f"{group} has a value of a wrong type: {error}") from error
    except Exception as error:  # whatever a constructor refuses
        raise UserError(str(error)) from error
