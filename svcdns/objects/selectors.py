"""Selectors: which objects a list, a watch or a Service is about. By labels here, by fields in the next file.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
A selector is a value: parsed once, compared and hashed freely, and its str() parses back to itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from . import syntax
from .causes import shown
from .errors import StatusError, bad_request
from .field_selectors import FieldSelector

__all__ = ["FieldSelector", "LabelRequirement", "LabelSelector", "matches_map"]

_TOKEN = re.compile(r"\s*(?:(?P<sign>==|!=|[=!,()<>])|(?P<word>[^\s=!,()<>]+)|(?P<end>$))")
_MOST_CHARACTERS = 64 * 1024


def matches_map(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether labels have every pair of a Service's selector. An empty selector matches all: ask first."""
    return all(labels.get(key) == value for key, value in selector.items())


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One condition on one label; `operator` is one of = != in notin exists ! > <."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet the condition. != and notin are met where the label is absent."""
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "=" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case _:
                return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        if value is None or not re.fullmatch("-?[0-9]{1,18}", value):
            return False
        limit = int(self.values[0])
        return int(value) > limit if self.operator == ">" else int(value) < limit

    def __str__(self) -> str:
        """Return the condition as it stands in a selector."""
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return "!" + self.key
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case _:
                return f"{self.key}{self.operator}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Conditions that all must be met; without any, everything is selected."""

    requirements: tuple[LabelRequirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> LabelSelector:
        """Parse "a=b,c!=d,e in (x,y),f notin (z),g,!h". Raises StatusError 400 with the position."""
        return cls(_LabelParser(text).parse())

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        """Return the selector as text."""
        return ",".join(map(str, self.requirements))


class _LabelParser:
    """Recursive descent over the tokens of a label selector, one token ahead."""

    def __init__(self, text: str) -> None:
        if len(text) > _MOST_CHARACTERS:
            raise bad_request(f"unable to parse label selector: it has over {_MOST_CHARACTERS} characters")
        self._text = text
        self._end = 0
        self._advance()

    def _advance(self) -> None:
        match = _TOKEN.match(self._text, self._end)
        assert match is not None, "every text starts with a sign, a word or its end"
        self._sign, self._word = match["sign"] or "", match["word"] or ""
        self._at, self._end = match.start(match.lastgroup or 0), match.end()

    def _fail(self, message: str, at: int | None = None) -> StatusError:
        position = (self._at if at is None else at) + 1
        return bad_request(
            f"unable to parse label selector {shown(self._text)}: at character {position}: {message}"
        )

    def _found(self) -> str:
        return shown(self._sign or self._word) if self._sign or self._word else "the end"

    def parse(self) -> tuple[LabelRequirement, ...]:
        found: list[LabelRequirement] = []
        if not self._sign and not self._word:
            return ()
        while True:
            found.append(self._requirement())
            if not self._sign and not self._word:
                return tuple(found)
            if self._sign != ",":
                raise self._fail(f"found {self._found()}, expected ',' or the end")
            self._advance()

    def _requirement(self) -> LabelRequirement:
        if self._sign == "!":
            self._advance()
            return LabelRequirement(self._key(), "!")
        key = self._key()
        if self._sign in ("", ",") and self._word not in ("in", "notin"):
            return LabelRequirement(key, "exists")
        operator = self._sign or self._word
        if operator in ("=", "==", "!="):
            self._advance()
            return LabelRequirement(key, operator.replace("==", "="), (self._value(),))
        if operator in ("<", ">"):
            self._advance()
            return LabelRequirement(key, operator, (self._number(),))
        if operator in ("in", "notin"):
            self._advance()
            return LabelRequirement(key, operator, self._set())
        raise self._fail(f"found {self._found()}, expected one of = == != in notin < >")

    def _key(self) -> str:
        key = self._word
        if not key:
            raise self._fail(f"found {self._found()}, expected a label's key")
        if errors := syntax.key_errors(key):
            raise self._fail(f"invalid key {shown(key)}: {'; '.join(errors)}")
        self._advance()
        return key

    def _value(self) -> str:
        """Return a value; an absent one is empty."""
        value = self._word
        if errors := syntax.label_value_errors(value):
            raise self._fail(f"invalid value {shown(value)}: {'; '.join(errors)}")
        if value:
            self._advance()
        return value

    def _number(self) -> str:
        at, value = self._at, self._word
        if not re.fullmatch("-?[0-9]{1,18}", value):
            raise self._fail(f"found {self._found()}, expected an integer after < or >", at)
        self._advance()
        return value

    def _set(self) -> tuple[str, ...]:
        if self._sign != "(":
            raise self._fail(f"found {self._found()}, expected '('")
        self._advance()
        values = {self._value()}
        while self._sign == ",":
            self._advance()
            values.add(self._value())
        if self._sign != ")":
            raise self._fail(f"found {self._found()}, expected ',' or ')'")
        self._advance()
        return tuple(sorted(values))
