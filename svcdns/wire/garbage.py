"""What is raised for octets from an upstream that are no reply that can be used."""

from __future__ import annotations


class Garbage(Exception):
    """Octets that are no reply to the question; the text says why."""


class Unusable(Garbage):
    """A reply to the question, by its ID and question, with which nothing can be done."""
