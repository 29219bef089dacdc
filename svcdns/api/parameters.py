"""Query parameters and DeleteOptions: from text to the registry's options.

Every mistake is a StatusError that names the parameter and what is allowed: 400 for one that can't be
read, 422 for a combination that Kubernetes forbids.  Unknown parameters are ignored, as in Kubernetes.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from svcdns.objects.errors import Cause, bad_request, invalid
from svcdns.objects.kinds import Kind
from svcdns.objects.selectors import FieldSelector, LabelSelector
from svcdns.registry.requests import DeleteOptions, Selection, WriteOptions

Query = Mapping[str, str]

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_VALIDATIONS = ("Ignore", "Warn", "Strict")
_PROPAGATIONS = ("Orphan", "Background", "Foreground")
LARGEST = 2**63 - 1
"""Largest number a parameter may have."""
_LONGEST_MANAGER = 128
_UNKNOWN_MANAGER = "unknown"


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Options of list and watch."""

    selection: Selection
    limit: int = 0
    continue_: str = ""
    watch: bool = False
    resource_version: int | None = None
    """None: the parameter is missing, so the most recent state is meant; 0: any state."""
    match: str = ""
    """resourceVersionMatch: "", Exact or NotOlderThan."""
    timeout: int = 0
    """Seconds; 0: the server chooses."""
    bookmarks: bool = False
    send_initial_events: bool | None = None


def boolean(query: Query, name: str) -> bool | None:
    """Return a truth value spelled as Go's strconv.ParseBool reads it; "" is true, missing is None."""
    value = query.get(name)
    if value is None:
        return None
    if value in _TRUE or not value:
        return True
    if value in _FALSE:
        return False
    raise bad_request(f"{name}: {value!r:.80} is no boolean; use true or false")


def number(query: Query, name: str) -> int | None:
    """Return a whole number of 64 bits; None when the parameter is missing or empty."""
    value = query.get(name, "")
    if not value:
        return None
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19 and int(digits) <= LARGEST):
        raise bad_request(f"{name}: {value!r:.80} is no whole number from 0 to {LARGEST}")
    return int(value)


def list_options(query: Query, kind: Kind) -> ListOptions:
    """Return the options of a list or a watch.  Raises StatusError 400 or 422."""
    options = ListOptions(
        selection=selection(query, kind),
        limit=max(number(query, "limit") or 0, 0),
        continue_=query.get("continue", ""),
        watch=boolean(query, "watch") or False,
        resource_version=resource_version(query),
        match=query.get("resourceVersionMatch", ""),
        timeout=max(number(query, "timeoutSeconds") or 0, 0),
        bookmarks=boolean(query, "allowWatchBookmarks") or False,
        send_initial_events=boolean(query, "sendInitialEvents"),
    )
    if causes := list(_forbidden_in_watch(options) if options.watch else _forbidden_in_list(options)):
        raise invalid("ListOptions", "", causes, "meta.k8s.io")
    if not options.watch and options.continue_ and options.resource_version:
        raise bad_request("resourceVersion can't be given together with continue")
    return options


def selection(query: Query, kind: Kind) -> Selection:
    """Return what labelSelector and fieldSelector select.  Raises StatusError 400."""
    labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
    return Selection(
        LabelSelector.parse(labels) if labels else None,
        FieldSelector.parse(fields, kind) if fields else None,
    )


def resource_version(query: Query) -> int | None:
    """Return how new what is read has to be, None where the parameter is missing.  Raises StatusError 400."""
    version = number(query, "resourceVersion")
    if version is not None and version < 0:
        raise bad_request(f"resourceVersion: {version} is below 0")
    return version


def _forbidden(field: str, message: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {message}", field)


def _unknown_match(options: ListOptions, *allowed: str) -> Iterator[Cause]:
    if options.match not in allowed:
        listed = ", ".join(f'"{word}"' for word in allowed)
        message = f'Unsupported value: "{options.match[:80]}": supported values: {listed}'
        yield Cause("FieldValueNotSupported", message, "resourceVersionMatch")


def _forbidden_in_watch(options: ListOptions) -> Iterator[Cause]:
    match = "resourceVersionMatch"
    if options.send_initial_events is not None and options.match != "NotOlderThan":
        yield _forbidden(match, f"sendInitialEvents requires setting {match} to NotOlderThan")
    if options.match:
        if options.send_initial_events is None:
            yield _forbidden(match, f"{match} is forbidden for watch unless sendInitialEvents is provided")
        yield from _unknown_match(options, "NotOlderThan")
        if options.continue_:
            yield _forbidden(match, f"{match} is forbidden with continue")


def _forbidden_in_list(options: ListOptions) -> Iterator[Cause]:
    match = "resourceVersionMatch"
    if options.send_initial_events is not None:
        yield _forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if options.match:
        if options.resource_version is None:
            yield _forbidden(match, f"{match} is forbidden unless resourceVersion is provided")
        if options.continue_:
            yield _forbidden(match, f"{match} is forbidden with continue")
        yield from _unknown_match(options, "Exact", "NotOlderThan")
        if options.match == "Exact" and options.resource_version == 0:
            yield _forbidden(match, f'{match} "exact" is forbidden for resourceVersion "0"')


def write_options(query: Query, user_agent: str = "") -> WriteOptions:
    """Return the options of create, replace and patch.  Raises StatusError 400.

    Without fieldManager, what stands before the first "/" of `user_agent` is the manager.
    """
    validation = query.get("fieldValidation", "") or "Warn"
    if validation not in _VALIDATIONS:
        allowed = ", ".join(_VALIDATIONS)
        raise bad_request(f"fieldValidation: {validation!r:.80} is unknown; allowed are {allowed}")
    manager = query.get("fieldManager", "")
    if len(manager) > _LONGEST_MANAGER or not manager.isprintable():
        raise bad_request(f"fieldManager: at most {_LONGEST_MANAGER} printable characters are allowed")
    force = boolean(query, "force") or False
    return WriteOptions(_dry_run(query.get("dryRun")), validation, manager or _program(user_agent), force)


@functools.lru_cache(maxsize=64)
def _program(user_agent: str) -> str:
    name = "".join(letter for letter in user_agent.partition("/")[0] if letter.isprintable())
    return name.strip()[:_LONGEST_MANAGER] or _UNKNOWN_MANAGER


def check_patch(query: Query, patch_type: str) -> None:
    """Raise StatusError 422 for an apply without fieldManager, or a `force` of any other patch."""
    cause = None
    if patch_type != "apply" and "force" in query:
        cause = _forbidden("force", "may not be specified for non-apply patch")
    elif patch_type == "apply" and not query.get("fieldManager"):
        message = "Required value: is required for apply patch"
        cause = Cause("FieldValueRequired", message, "fieldManager")
    if cause is not None:
        raise invalid("PatchOptions", "", [cause], "meta.k8s.io")


def _dry_run(value: object) -> bool:
    if value is None:
        return False
    if value != "All":
        raise bad_request(f"dryRun: {value!r:.80} is unknown; the only value allowed is All")
    return True


def delete_options(query: Query, body: dict[str, Any] | None) -> DeleteOptions:
    """Return the options of a delete: those of the body, and of the query what the body doesn't say.

    Raises StatusError 400.
    """
    given = body or {}
    if given.get("kind") not in (None, "", "DeleteOptions"):
        raise bad_request(f"the body of a delete is DeleteOptions, not {given['kind']!r:.80}")
    grace = _typed(given, "gracePeriodSeconds", int)
    if grace is None:
        grace = number(query, "gracePeriodSeconds")
    if grace is not None and not 0 <= grace <= LARGEST:
        raise bad_request(f"gracePeriodSeconds: {grace} is below 0")
    propagation = _typed(given, "propagationPolicy", str) or query.get("propagationPolicy", "")
    if propagation and propagation not in _PROPAGATIONS:
        allowed = ", ".join(_PROPAGATIONS)
        raise bad_request(f"propagationPolicy: {propagation!r:.80} is unknown; allowed are {allowed}")
    preconditions = _typed(given, "preconditions", dict) or {}
    # A list: every one is checked, not only up to the first.
    dry_runs = [_dry_run(value) for value in _typed(given, "dryRun", list) or []]
    return DeleteOptions(
        dry_run=any(dry_runs) or _dry_run(query.get("dryRun")),
        grace_period_seconds=grace,
        uid=_typed(preconditions, "uid", str, "preconditions.") or "",
        resource_version=_typed(preconditions, "resourceVersion", str, "preconditions.") or "",
        propagation=propagation or ("Orphan" if given.get("orphanDependents") is True else ""),
    )


_WORDS = {int: "a whole number", str: "a string", dict: "an object", list: "a list"}


def _typed(body: dict[str, Any], field: str, expected: type, prefix: str = "") -> Any:
    value = body.get(field)
    if value is None or (isinstance(value, expected) and not isinstance(value, bool)):
        return value
    raise bad_request(f"{prefix}{field}: {_WORDS[expected]} is expected")
