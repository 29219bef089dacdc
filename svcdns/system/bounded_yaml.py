"""YAML from outside, read as Kubernetes reads it, with bounds of our own whichever PyYAML is installed.

A text may be small and yet stand for much: deep nesting ends the C stack of PyYAML's composer, aliases and
merge keys (`<<`) multiply what they name.  So depth and aliases are bounded in the stream of events, before
anything is composed, and values are made here, where keys are counted before they are merged.

Values are those of JSON; a date is a text.  Who allows aliases has to bound what they come to when written
out: a list may even contain itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'', re.DOTALL)
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Refused(ValueError):
    """A text that is not read; `str` says what is wrong, without the place."""

    def __init__(self, problem: str, document: int, mark: Any) -> None:
        """`document` counts from 1; the mark is PyYAML's, None where it gives none."""
        super().__init__(problem)
        self.document = document
        self.line: int = mark.line + 1 if mark else 0
        """From 1; 0: unknown."""
        self.column: int = mark.column + 1 if mark else 0


class TooDeep(Refused):
    """A document is nested more deeply than allowed."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a text may hold."""

    depth: int
    """Levels of nesting."""
    aliases: int = 0
    """In the whole text; 0: they are refused."""
    keys: int = 1 << 30
    """Of one mapping, and merged ones count as often as they are merged."""
    strict: bool = False
    """A key stands once, and one that is no text is left to the caller to refuse, as is !!binary; otherwise
    keys and !!binary become texts, and the last of equal keys wins."""


def documents(text: str, rules: Rules) -> Iterator[Any]:
    """Yield the value of each document, None for an empty one; raises Refused, or TooDeep."""
    _check_events(text, rules)
    number = 0
    try:
        for node in yaml.compose_all(text, Loader=_Loader):
            number += 1
            yield _Values(rules, number).of(node)
    except yaml.YAMLError as error:
        raise _refused(error, number + 1) from None


def _check_events(text: str, rules: Rules) -> None:
    """Bound depth and aliases, and find what is no YAML, before the composer recurses into the text."""
    number = depth = aliases = read = 0
    event: Any
    try:
        for event in yaml.parse(text, Loader=_Base):
            read = event.end_mark.index
            number += isinstance(event, yaml.DocumentStartEvent)
            aliases += isinstance(event, yaml.AliasEvent)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > rules.depth:
                raise TooDeep("nested too deeply", number, event.start_mark)
            if aliases > rules.aliases:
                named = f"aliases (*{event.anchor}) are not accepted"
                problem = f"there are more than {rules.aliases} aliases" if rules.aliases else named
                raise Refused(problem, number, event.start_mark)
    except yaml.YAMLError as error:
        refused = _refused(error, max(number, 1))
        # In search of a key the parser reads up to 1,024 characters ahead, and may refuse by a bound of its
        # own what is nested there: that is too deep for us too, though no event has told of it.
        mark = getattr(error, "problem_mark", None)
        if mark and depth + _opened(text[read : mark.index]) > rules.depth:
            refused = TooDeep("nested too deeply", number, mark)
        raise refused from None


def _refused(error: Any, number: int) -> Refused:
    said = (getattr(error, name, None) for name in ("problem", "context", "reason"))
    problem = next(filter(None, said), None) or " ".join(str(error).split())
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return Refused(problem, number, mark)


def _opened(text: str) -> int:
    """Return how many brackets a text in flow style opens and does not close."""
    bare = _QUOTED.sub("", text)
    return len(re.findall(r"[\[{]", bare)) - len(re.findall(r"[\]}]", bare))


class _Loader(_Base):  # type: ignore[misc]
    """PyYAML's composer; dates and a lonely `=` are texts to it."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own table, two types less
        first: [pair for pair in pairs if pair[0] not in (_TAG + "timestamp", _TAG + "value")]
        for first, pairs in _Base.yaml_implicit_resolvers.items()
    }


_safe: Any = yaml.constructor.SafeConstructor()
_SCALARS = {
    _TAG + name: getattr(_safe, f"construct_yaml_{name}") for name in ("null", "bool", "int", "float")
}
_SCALARS |= {_TAG + name: _safe.construct_scalar for name in ("str", "timestamp", "binary")}


class _Values:
    """Makes the values of one document; what aliases share stays shared."""

    def __init__(self, rules: Rules, document: int) -> None:
        self._rules = rules
        self._document = document
        self._made: dict[int, Any] = {}
        """By the node's id; those of lists and mappings are there before they are filled."""
        self._keys: dict[int, int] = {}
        """Of the mappings that are complete, by the node's id."""

    def of(self, node: Any) -> Any:
        """Return a node's value.  Recurses as deep as the text is nested: aliases name what came before."""
        if id(node) in self._made:
            return self._made[id(node)]
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            value = self._made[id(node)] = []
            value += map(self.of, node.value)
            return value
        return self._made.setdefault(id(node), self._scalar(node))

    def _mapping(self, node: Any) -> dict[Any, Any]:
        value = self._made[id(node)] = dict[Any, Any]()
        sources: list[Any] = []
        for key_node, inner in node.value:
            if key_node.tag == _MERGE:
                sources += inner.value if isinstance(inner, yaml.SequenceNode) else [inner]
                continue
            key = self._key(key_node)
            if key in value and self._rules.strict:
                self._refuse(key_node, f"the key {key!r} stands there twice")
            value[key] = self.of(inner)
        merged = [self._to_merge(source) for source in sources]
        keys = self._keys[id(node)] = len(value) + sum(self._keys[id(source)] for source in sources)
        if keys > self._rules.keys:
            self._refuse(node, f"a mapping has more than {self._rules.keys} keys")
        for one in merged:  # what stands in the mapping itself wins, and then what is merged first
            for key, inner in one.items():
                value.setdefault(key, inner)
        return value

    def _to_merge(self, node: Any) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            self._refuse(node, "expected a mapping or list of mappings for merging")
        value: dict[Any, Any] = self.of(node)
        if id(node) not in self._keys:
            self._refuse(node, "a mapping is merged into itself")
        return value

    def _key(self, node: Any) -> Any:
        key = self._scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(key, str) or (self._rules.strict and isinstance(node, yaml.ScalarNode)):
            return key
        if key is None:
            self._refuse(node, "a key must be a text")
        return str(key).lower() if isinstance(key, bool) else str(key)

    def _scalar(self, node: Any) -> Any:
        binary = self._rules.strict and node.tag == _TAG + "binary"
        read = _safe.construct_yaml_binary if binary else _SCALARS.get(node.tag)
        if read is None or not isinstance(node, yaml.ScalarNode):
            self._refuse(node, f"could not determine a constructor for the tag {node.tag!r}")
        try:
            return read(node)
        except (yaml.YAMLError, ValueError, KeyError, IndexError, OverflowError):
            self._refuse(node, "a value does not fit its tag")

    def _refuse(self, node: Any, problem: str) -> NoReturn:
        raise Refused(problem, self._document, node.start_mark)
