"""What is said to the API and what it says back, as values: no I/O here.

A call is a generator: it yields a `Request`, is sent the `Response`, and returns what the caller wanted.  Who
runs it decides how octets travel, so the client for asyncio and the one without it share every call.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
Object = dict[str, Any]
"""A Kubernetes object as JSON."""

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `path` begins with / and holds the query."""

    method: str
    path: str
    body: Any = None
    """Sent as JSON; None: no body."""
    content_type: str = JSON
    accept: str = JSON

    def headers(self, token: str = "") -> list[tuple[str, str]]:
        """Return the headers; `token` is shown to the API if there is one."""
        headers = [("Accept", self.accept), ("User-Agent", "svcdns")]
        if self.body is not None:
            headers.append(("Content-Type", self.content_type))
        return [*headers, ("Authorization", f"Bearer {token}")] if token else headers

    def octets(self) -> bytes:
        """Return the body as it is sent."""
        return b"" if self.body is None else json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: HTTP status, the `Warning` headers' texts, and the body."""

    status: int
    body: bytes
    warnings: tuple[str, ...] = ()

    def json(self, *fields: str) -> Any:
        """Return the body, a JSON object with at least these fields.

        Raises ApiError where it is something else, or the status is not 2xx.
        """
        decoded = self._decoded()
        is_good = isinstance(decoded, dict) and all(field in decoded for field in fields)
        if not 200 <= self.status < 300 or not is_good:
            raise self.refusal()
        return decoded

    def refusal(self) -> ApiError:
        """Return what the response says as an error."""
        return ApiError.of(self.status, self._decoded())

    def _decoded(self) -> Any:
        """Return the body, None where it is no JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


@dataclass
class ApiError(Exception):
    """The API refused: HTTP status, Kubernetes' reason ("NotFound"), a message for people, its causes."""

    status: int
    reason: str
    message: str
    causes: list[tuple[str, str]] = field(default_factory=list)
    """(field, what is wrong with it)"""

    def __str__(self) -> str:
        return self.message

    @classmethod
    def of(cls, status: int, body: Any) -> ApiError:
        """Return the error that a response says."""
        if not isinstance(body, Mapping) or not isinstance(body.get("message"), str):
            return cls(
                status, "", f"no svcdns answers there: HTTP status {status}, and nothing that says why"
            )
        details = body.get("details")
        given = details.get("causes") if isinstance(details, Mapping) else None
        causes = [
            (str(one.get("field", "")), str(one.get("message", "")))
            for one in (given if isinstance(given, list) else [])
            if isinstance(one, Mapping)
        ]
        return cls(status, str(body.get("reason", "")), body["message"], causes)


class Mistake(Exception):
    """What was asked for can't be done; the text says why, and what can."""


class Unreachable(Exception):
    """Nothing answers there, or what does can't be trusted; the text says which."""


Call = Generator[Request, Response, T]
"""A call in progress: see above."""


def answer(request: Request, *fields: str) -> Call[Any]:
    """Send one request; return the JSON of the answer, which has at least these fields.  Raises ApiError."""
    response = yield request
    return response.json(*fields)
