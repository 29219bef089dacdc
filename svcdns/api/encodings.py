"""How an answer travels: YAML instead of JSON, and gzip, where the client asks for it.

As in Kubernetes, what is small is not compressed. Compression runs in a thread and keeps nobody waiting; YAML
in blocks is written slowly, so a large answer is written as JSON, which YAML takes as its own.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import re
from typing import Any

import msgspec
from aiohttp import web

from .negotiation import YAML, accepts_gzip, wants_yaml

SMALLEST = 128 * 1024
"""Octets from which on an answer is compressed; Kubernetes' own bound."""
_LARGEST_IN_BLOCKS = 64 * 1024
LEVEL = 1
"""Of compression: the quickest."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"])
"""What some reader of YAML takes for something other than a text."""


async def encoded(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """Return an answer in the form that its client asks for; streams stay as they are."""
    if not isinstance(answer, web.Response) or not isinstance(answer.body, bytes):
        return answer
    if wants_yaml(request.headers.get("Accept", "")) and answer.content_type == "application/json":
        answer.body = yaml_octets(answer.body)
        answer.headers["Content-Type"] = YAML
    body = answer.body
    if len(body) >= SMALLEST and accepts_gzip(request.headers.get("Accept-Encoding", "")):
        answer.body = await asyncio.to_thread(gzip.compress, body, LEVEL, mtime=0)
        answer.headers["Content-Encoding"] = "gzip"
        answer.headers["Vary"] = "Accept-Encoding"
    return answer


def yaml_octets(octets: bytes) -> bytes:
    """Return JSON as YAML."""
    if len(octets) > _LARGEST_IN_BLOCKS:
        return octets
    import yaml  # here: few ask for it

    text: str = yaml.dump(
        msgspec.json.decode(octets),
        Dumper=_dumper(),
        default_flow_style=False,
        allow_unicode=True,
        width=10**6,
    )
    return text.encode()


@functools.cache
def _dumper() -> type[Any]:
    """Return who writes each text in quotes that any version of YAML could read as something else."""
    import yaml

    class Dumper(yaml.CSafeDumper):
        pass

    def text_of(dumper: Any, text: str) -> Any:
        plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')

    Dumper.add_representer(str, text_of)
    return Dumper
