"""Which records are meant: by the words of svcdns.config.query_words, and by chance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from random import random

from svcdns.config.query_words import QueryWord, query_word
from svcdns.wire.key import key_of

from .record import Record

Condition = Callable[[Record], bool]


def condition(word: QueryWord) -> Condition:
    """Return what is true of the records that a word means."""
    kind, value = word
    if kind == "rcode":
        if value == "nodata":
            return lambda record: record.rcode == "NOERROR" and not record.answers
        rcode = str(value).upper()
        return lambda record: record.rcode == rcode
    if kind == "name":
        key = b"" if value == "." else key_of(str(value))
        return lambda record: record.key.startswith(key)
    if kind == "client":
        return lambda record: _is_in(record.client, value)
    if kind == "slow":
        return lambda record: record.duration >= value  # type: ignore[operator]
    attribute = {"source": "source", "type": "rrtype"}[kind]
    return lambda record: getattr(record, attribute) == value


def _is_in(client: str, network: object) -> bool:
    try:
        address = ip_address(client.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        return address in network  # type: ignore[operator]
    except (ValueError, TypeError):
        return False


def every(words: Iterable[QueryWord]) -> Condition:
    """Return what is true of records that all of these words mean."""
    conditions = [condition(word) for word in words]
    return lambda record: all(one(record) for one in conditions)


class Selection:
    """What one of those who are shown records wants: words of it, and one of so many."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str], sample: int) -> None:
        """Those of which a word of `include` is true (all where there is none), and none of `exclude`."""
        self._include = [condition(query_word(text)) for text in include]
        self._exclude = [condition(query_word(text)) for text in exclude]
        self._sample = sample

    def wants(self, record: Record) -> bool:
        """Return whether it is to be shown; what is recorded already as one of many counts as such."""
        if self._sample > record.sample and random() * self._sample >= record.sample:
            return False
        if self._include and not any(one(record) for one in self._include):
            return False
        return not any(one(record) for one in self._exclude)
