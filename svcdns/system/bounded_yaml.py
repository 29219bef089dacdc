"""YAML from outside, read as Kubernetes reads it, with bounds of our own whichever PyYAML is installed.

A text may be small and yet stand for much: deep nesting ends the C stack of PyYAML's composer, aliases and
merge keys (`<<`) multiply what they name.  So depth and aliases are bounded in the stream of events, before
anything is composed, and values are made here, where keys are counted before they are merged.

Values are those of JSON, as yaml_scalars makes them; only .inf and .nan are none that JSON has.  Who allows
aliases has to bound what they come to when written out: a list may even contain itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import yaml

from .yaml_scalars import PLAIN, TAG, DoesNotFit, key_of, value_of

_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'', re.DOTALL)
_TAG_DIRECTIVE = re.compile(r"^%TAG\b", re.MULTILINE)
_TAG_DIRECTIVES = 100
_START = re.compile(r"^(?:%.*\n){0,10}---(?=\s|\Z)", re.MULTILINE)
"""A line that begins a document, wherever it stands, with the directives before it (YAML 1.2.2, 9.1.2)."""
MOST_REFUSED = 20
"""Of the documents that are read apart."""
_VALUES = (yaml.ScalarEvent, yaml.CollectionStartEvent)
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
    values: int = 200_000
    """Of one document, before aliases are written out: keys, scalars, lists and mappings; keys that are
    merged are counted once more, by themselves."""
    keys: int = 1 << 30
    """Of one mapping, and merged ones count as often as they are merged."""
    strict: bool = False
    """A key stands once; otherwise the last of equal keys wins."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """A key that stood in its mapping already."""

    key: str
    line: int
    """From 1."""


def documents(text: str, rules: Rules, repeated: list[Repeated] | None = None) -> Iterator[Any]:
    """Yield the value of each document, None for an empty one; raises Refused, or TooDeep.

    Keys that stand twice are added to `repeated`, where the rules are not strict about them.
    """
    _check_events(text, rules)
    number = 0
    try:
        for node in yaml.compose_all(text, Loader=_Loader):
            number += 1
            yield _Values(rules, number, repeated).of(node)
    except yaml.YAMLError as error:
        raise _refused(error, number + 1) from None


def documents_apart(text: str, rules: Rules) -> Iterator[Any | Refused]:
    """Yield the value of each document, None for an empty one, or the Refused that keeps it from being read.

    What is wrong with a document ends with it: the next line `---` begins another.  Aliases are counted in
    each by itself then.  After MOST_REFUSED the rest is not read.
    """
    try:
        yield from [*documents(text, rules)]  # all or none: most texts have no mistake
    except Refused:
        yield from _one_by_one(text, rules)


def _one_by_one(text: str, rules: Rules) -> Iterator[Any | Refused]:
    number = refused = lines = 0
    starts = [0, *(found.start() for found in _START.finditer(text)), len(text)]
    for start, end in pairwise(starts):
        part = text[start:end]
        try:
            for value in documents(part, rules):
                number += 1
                yield value
        except Refused as bad:
            number, refused = number + 1, refused + 1
            bad.document = number
            bad.line += lines if bad.line else 0
            yield bad
            if refused == MOST_REFUSED:
                yield Refused(f"{refused} documents are broken, the rest is not read", number + 1, None)
                return
        lines += part.count("\n")


def _check_events(text: str, rules: Rules) -> None:
    """Bound depth and aliases, and find what is no YAML, before the composer recurses into the text."""
    number = depth = aliases = values = read = 0
    event: Any
    if len(_TAG_DIRECTIVE.findall(text)) > _TAG_DIRECTIVES:  # libyaml compares each with all others
        raise Refused(f"there are more than {_TAG_DIRECTIVES} %TAG directives", 1, None)
    try:
        for event in yaml.parse(text, Loader=_Base):
            read = event.end_mark.index
            if isinstance(event, yaml.DocumentStartEvent):
                number, values = number + 1, 0
            values += isinstance(event, _VALUES)
            aliases += isinstance(event, yaml.AliasEvent)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > rules.depth:
                raise TooDeep("nested too deeply", number, event.start_mark)
            if values > rules.values:
                raise Refused(f"there are more than {rules.values} values", number, event.start_mark)
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
    """PyYAML's composer; what has neither quotes nor a tag is left for yaml_scalars to read."""

    yaml_implicit_resolvers = {None: [(PLAIN, re.compile(""))]}  # noqa: RUF012  # PyYAML's own name


class _Values:
    """Makes the values of one document; what aliases share stays shared."""

    def __init__(self, rules: Rules, document: int, repeated: list[Repeated] | None) -> None:
        self._rules = rules
        self._document = document
        self._repeated = repeated
        self._made: dict[int, Any] = {}
        """By the node's id; those of lists and mappings are there before they are filled."""
        self._keys: dict[int, int] = {}
        """Of the mappings that are complete, by the node's id."""
        self._merged = 0
        """Keys that were merged so far: each takes memory again."""

    def of(self, node: Any) -> Any:
        """Return a node's value.  Recurses as deep as the text is nested: aliases name what came before."""
        if id(node) in self._made:
            return self._made[id(node)]
        if isinstance(node, yaml.MappingNode) and node.tag == TAG + "map":
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == TAG + "seq":
            value = self._made[id(node)] = []
            value += map(self.of, node.value)
            return value
        return self._made.setdefault(id(node), self._scalar(node))

    def _mapping(self, node: Any) -> dict[str, Any]:
        """Return a mapping: what comes later wins, be it a key or a merge, as in go-yaml."""
        value = self._made[id(node)] = dict[str, Any]()
        own: set[str] = set()
        keys = 0
        for key_node, inner in node.value:
            if key_node.tag == PLAIN and key_node.value == "<<":
                keys += self._merge(inner, value)
                continue
            key = self._key(key_node)
            if key in own:
                self._note_repeated(key_node, key)
            own.add(key)
            value[key] = self.of(inner)
        self._keys[id(node)] = keys = keys + len(own)
        if keys > self._rules.keys:
            raise self._refused(node, f"a mapping has more than {self._rules.keys} keys")
        return value

    def _merge(self, node: Any, into: dict[str, Any]) -> int:
        """Merge a mapping or a list of them, of which the first wins; return how many keys that were."""
        keys = 0
        for source in reversed(node.value) if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                raise self._refused(source, "expected a mapping or list of mappings for merging")
            value = self.of(source)
            if id(source) not in self._keys:
                raise self._refused(source, "a mapping is merged into itself")
            self._merged += len(value)
            if self._merged > self._rules.values:
                raise self._refused(source, f"there are more than {self._rules.values} merged keys")
            into.update(value)
            keys += self._keys[id(source)]
        return keys

    def _note_repeated(self, node: Any, key: str) -> None:
        if self._rules.strict:
            raise self._refused(node, f"the key {key!r} stands there twice")
        if self._repeated is not None:
            self._repeated.append(Repeated(key, node.start_mark.line + 1))

    def _key(self, node: Any) -> str:
        if isinstance(node, yaml.ScalarNode):
            with suppress(DoesNotFit, KeyError):
                return key_of(node.value, node.tag)
        raise self._refused(node, "a key must be a text")

    def _scalar(self, node: Any) -> Any:
        if isinstance(node, yaml.ScalarNode):
            with suppress(KeyError):
                try:
                    return value_of(node.value, node.tag)
                except DoesNotFit:
                    raise self._refused(node, "a value does not fit its tag") from None
        raise self._refused(node, f"could not determine a constructor for the tag {node.tag!r:.80}")

    def _refused(self, node: Any, problem: str) -> Refused:
        return Refused(problem, self._document, node.start_mark)
