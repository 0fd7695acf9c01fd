"""Dataclasses of plain values as JSON: their schema, and reading them with every type checked.

Known are bool, int, float, str, literals, lists, dicts with string keys, dataclasses, and any of them or None. JSON
has no NaN: a float that is null is NaN. pydantic stays out: unless every class or field is told otherwise, it fills a
missing key with its default, passes over an unknown one and takes no null for a float; and as it makes floats of whole
numbers, a record that is read and written again would be other bytes.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

hints_of = cache(get_type_hints)
NAMES = {bool: "boolean", int: "integer", str: "string"}


def json_schema(kind: Any) -> dict[str, Any]:
    """Give the JSON schema (draft 2020-12) of a type. Raises ``TypeError`` for one that is not known."""
    if kind in NAMES:
        return {"type": NAMES[kind]}
    if kind is float:
        return {"type": ["number", "null"]}
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return {
            "type": "object",
            "properties": {name: json_schema(hint) for name, hint in hints.items()},
            "required": list(hints),
            "additionalProperties": False,
        }
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": json_schema(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": json_schema(arguments[1])}
    if origin is UnionType:
        return {"anyOf": [{"type": "null"} if each is NoneType else json_schema(each) for each in arguments]}
    raise TypeError(f"{kind} has no form in JSON here")


def decoded(kind: Any, value: Any, where: str = "") -> Any:
    """Read a type's value from JSON. Raises ``ValueError``, naming the key, for a value of another type."""
    at = where or "the content"
    if kind is float:
        if value is None:
            return math.nan
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        raise ValueError(f"{at} is {value!r}, not a number")
    if kind in NAMES:
        if type(value) is not kind:
            raise ValueError(f"{at} is {value!r}, not of type {NAMES[kind]}")
        return value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        (own,) = (each for each in arguments if each is not NoneType)
        return None if value is None else decoded(own, value, where)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{at} is {value!r}, not {' or '.join(map(repr, arguments))}")
        return value
    if origin is list:
        if not isinstance(value, list):
            raise ValueError(f"{at} is {value!r}, not an array")
        return [decoded(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if not isinstance(value, dict):
        raise ValueError(f"{at} is {value!r}, not an object")
    if origin is dict:
        return {key: decoded(arguments[1], item, f"{where}.{key}".lstrip(".")) for key, item in value.items()}
    return _decoded_fields(kind, value, where)


def _decoded_fields(kind: Any, value: dict[str, Any], where: str) -> Any:
    """Read a dataclass."""
    hints = hints_of(kind)
    for problem, keys in (("lacks", hints.keys() - value), ("has the unknown", value.keys() - hints)):
        if keys:
            raise ValueError(f"{where or 'the content'} {problem} {', '.join(sorted(keys))}")
    return kind(**{name: decoded(hint, value[name], f"{where}.{name}".lstrip(".")) for name, hint in hints.items()})
