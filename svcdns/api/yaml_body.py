"""One YAML document, read as Kubernetes reads it: everything becomes JSON.

Timestamps and binary stay strings; keys become strings.  Aliases are refused,
because a short text of nested aliases stands for gigabytes.  Depth is bounded before the document is
composed: libyaml's composer recurses on the C stack and takes the process with it, its event stream
does not.
"""

from __future__ import annotations

import math
from typing import Any

import yaml


class TooDeep(ValueError):
    """The document is nested more deeply than allowed."""


class _Loader(yaml.CSafeLoader):
    """Safe YAML without timestamps and other types that JSON lacks."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own table, one type less
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def _as_text(loader: _Loader, node: yaml.ScalarNode) -> Any:
    return loader.construct_scalar(node)


for _tag in ("timestamp", "binary"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _as_text)


def load(octets: bytes, deepest: int) -> Any:
    """Return the document's value in JSON's types.

    Raises TooDeep beyond `deepest` levels, ValueError with line and column for all else.
    """
    try:
        _scan(octets, deepest)
        return _as_json(yaml.load(octets, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        raise ValueError(_described(error)) from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except (TypeError, KeyError, IndexError, AttributeError, OverflowError):
        raise ValueError("a tagged value does not fit its tag") from None


def _scan(octets: bytes, deepest: int) -> None:
    depth = 0
    for event in yaml.parse(octets, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > deepest:
                raise TooDeep
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            raise ValueError(f"aliases (*{event.anchor}) are not accepted, at {_at(event.start_mark)}")


def _described(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    text = error.problem or error.context or "it can't be parsed"
    return f"{text}, at {_at(mark)}" if mark else text


def _at(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_json(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no JSON number")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"a value of type {type(value).__name__} has no place in JSON")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int | float):
        return str(key)
    raise ValueError(f"a key is {key!r:.40}: keys must be strings")
