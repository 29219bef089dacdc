"""The accept half of a write: may this object be stored, and as what?

Works inside the write's transaction, on the state that the writes before it left.  Completes the
metadata, fills in defaults, validates (all causes at once), allocates and stores; then `derive` does the
rest.  Raises StatusError and leaves no trace of a write that is refused.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import secrets

from svcdns.cluster.endpoints import is_generated, is_mirrored
from svcdns.cluster.pod_conditions import kept, with_conditions
from svcdns.objects import managed_fields
from svcdns.objects.defaults import default
from svcdns.objects.errors import Cause, StatusError, conflict, invalid, no_namespace
from svcdns.objects.kinds import (
    ENDPOINTS,
    ENDPOINTSLICE,
    FIRST_NAMESPACES,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    Kind,
)
from svcdns.objects.managed_fields import Authorship
from svcdns.objects.metadata_rules import SERVERS_OWN
from svcdns.objects.validation import validate
from svcdns.wire.name import MAX_NAME_OCTETS

from . import addresses, endpoints, owners, probed
from .derive import derive_with_warnings
from .requests import DeleteOptions, Written
from .transaction import Object, WriteTransaction, encode
from .uids import random_uid
from .warnings import warnings

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_ORDER = ("apiVersion", "kind", "metadata", "spec", "status")
_ANY_REVISION = "0"
"""In a body: whatever is stored may be replaced."""
_REVISION_FIELD = "metadata.resourceVersion"
_BORN_WITH_STATUS = frozenset({POD, NODE})
"""Kinds whose status may be said with their creation, since nobody else would report it."""


def create(write: WriteTransaction, kind: Kind, namespace: str, body: Object, author: Authorship) -> Written:
    """Store a new object; `body` has passed `identity.agreed` and the schema."""
    metadata = {k: v for k, v in (body.get("metadata") or {}).items() if k not in SERVERS_OWN}
    if kind.namespaced:
        metadata["namespace"] = namespace
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = _generate_name(write, kind, namespace, metadata["generateName"])
    new = {**body, "metadata": metadata}
    if kind not in _BORN_WITH_STATUS:
        new.pop("status", None)
    new = default(kind, new)
    _check(kind, new, None)
    if kind is SERVICE:
        _check_name_fits(write, new["metadata"])
    name = metadata["name"]
    if kind.namespaced:
        _check_namespace_open(write, namespace)
    if kind is ENDPOINTS:
        endpoints.check_writable(write, namespace, name)
    if write.load(kind, namespace, name) is not None:
        raise _already_exists(kind, name)
    new["metadata"] = {**new["metadata"], "uid": random_uid(), "creationTimestamp": write.now}
    entries = author.settled
    if entries is None:
        entries = managed_fields.created(kind, new, author.manager, write.now)
    new["metadata"] = _owned(new["metadata"], entries)
    return store(write, kind, None, new)


def create_from(
    write: WriteTransaction, kind: Kind, view: Object, body: Object, author: Authorship
) -> Written:
    """Store as new what a client has made of an object that is only shown (Endpoints)."""
    _check_not_overtaken(kind, view, body.get("metadata") or {})
    return create(write, kind, view["metadata"]["namespace"], body, author)


def update(
    write: WriteTransaction, kind: Kind, old: Object, body: Object, subresource: str, author: Authorship
) -> Written:
    """Store a changed object; a write that changes nothing keeps the revision."""
    metadata = dict(body.get("metadata") or {})
    name = old["metadata"]["name"]
    _check_not_overtaken(kind, old, metadata)
    if subresource == "status":
        new = {**old, "metadata": _with_status(old, metadata), "status": body.get("status") or {}}
    elif subresource == "finalize":
        finalizers = (body.get("spec") or {}).get("finalizers") or []
        new = {**old, "spec": {**(old.get("spec") or {}), "finalizers": finalizers}}
    else:
        new = {**body, "metadata": _inherited(old, metadata)}
        if kind is not POD or not new.get("status"):
            new.pop("status", None)
            if "status" in old:
                new["status"] = old["status"]
    new = default(kind, new, old)
    _check(kind, new, old)
    if kind is POD:
        new = kept(old, new)
    if kind is ENDPOINTSLICE and is_generated(old):
        raise generated(old)
    if kind is ENDPOINTS and not old["metadata"].get("deletionTimestamp"):
        endpoints.check_writable(write, old["metadata"]["namespace"], name)
    new["metadata"] = _owned(new["metadata"], _owners_after(write, kind, old, new, subresource, author))
    return store(write, kind, old, new)


def _owners_after(
    write: WriteTransaction, kind: Kind, old: Object, new: Object, subresource: str, author: Authorship
) -> list[managed_fields.Entry]:
    """Return the managedFields of a changed object; the stored ones if nothing but times would change."""
    stored: list[managed_fields.Entry] = old["metadata"].get("managedFields") or []
    entries = author.settled
    if entries is None:
        owner = (author.manager, managed_fields.UPDATE, subresource)
        before = stored if author.given is None else author.given
        entries = managed_fields.updated(kind, old, new, before, owner, write.now)
        if entries is stored or (author.given is None and kind is not POD):
            return entries
    if not managed_fields.same_but_times(entries, stored):
        return entries
    new = {**new, "metadata": _owned(new["metadata"], stored)}
    if kind is POD:  # what was written may be there already, though the condition Ready says otherwise
        new = with_conditions(new, old, write.now)
    return stored if new == old else entries


def _owned(metadata: Object, entries: list[managed_fields.Entry] | None) -> Object:
    """Return metadata with these managedFields."""
    if entries is None or metadata.get("managedFields", []) is entries:
        return metadata
    kept = {key: value for key, value in metadata.items() if key != "managedFields"}
    return {**kept, "managedFields": entries} if entries else kept


def check_deletable(kind: Kind, name: str) -> None:
    """Refuse to delete the namespaces that exist from the start (403, as Kubernetes does)."""
    if kind is NAMESPACE and name in FIRST_NAMESPACES:
        text = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
        raise StatusError(403, "Forbidden", text, kind="namespaces", name=name)


def store(write: WriteTransaction, kind: Kind, old: Object | None, new: Object) -> Written:
    """Allocate for an object, put it under a revision of its own and derive what follows from it."""
    if kind is ENDPOINTSLICE and is_generated(new):
        raise generated(new)
    if kind is SERVICE:
        addresses.allocate(write, old, new)
    elif kind is POD:
        new = with_conditions(new, old, write.now)
    new = _ordered(new)
    if old is not None and new == old:
        return Written(encode(old))
    octets = write.save(kind, old, new)
    if kind is POD:
        probed.note(write, new)
    owners.index(write, kind, old, new)
    said = derive_with_warnings(write, kind, old, new)
    return Written(octets, created=old is None, warnings=(*warnings(kind, old, new), *said))


def _check(kind: Kind, new: Object, old: Object | None) -> None:
    if causes := validate(kind, new, old):
        name = new["metadata"].get("name") or new["metadata"].get("generateName") or ""
        raise invalid(kind.name, name, causes, kind.group)


def _check_name_fits(write: WriteTransaction, metadata: Object) -> None:
    """Refuse a Service whose own name would be too long for DNS (RFC 1035 section 2.3.4)."""
    name = write.settings.names.service_text(metadata["namespace"], metadata["name"])
    if len(name) >= MAX_NAME_OCTETS:
        text = f"Too long: {name} would have {len(name) + 1} octets, DNS allows {MAX_NAME_OCTETS}"
        raise invalid("Service", metadata["name"], [Cause("FieldValueTooLong", text, "metadata.name")])


def _ordered(obj: Object) -> Object:
    """Return the object with its top fields in the usual order."""
    first = {key: obj[key] for key in _ORDER if key in obj}
    return {**first, **{key: value for key, value in obj.items() if key not in first}}


def _inherited(old: Object, metadata: Object) -> Object:
    """Return the metadata of an update; fields that only the server sets come from the stored object."""
    kept = {key: old["metadata"][key] for key in SERVERS_OWN if key in old["metadata"]}
    given = {key: value for key, value in metadata.items() if key not in SERVERS_OWN}
    for key in ("name", "namespace", "generateName"):
        if key in old["metadata"]:
            given.setdefault(key, old["metadata"][key])
    return {**given, **kept}


def _with_status(old: Object, metadata: Object) -> Object:
    """Return the metadata after a write of the status: labels and the like may come with it.

    What the body leaves out stays, other than in Kubernetes: a status is often sent alone.
    """
    given = {key: metadata[key] for key in ("labels", "annotations", "finalizers") if key in metadata}
    return {**old["metadata"], **given}


def _check_not_overtaken(kind: Kind, old: Object, metadata: Object) -> None:
    """Raise StatusError 409 where the client has seen another revision, or another object of this name."""
    name, stored = old["metadata"]["name"], old["metadata"]
    given = metadata.get("resourceVersion")
    if kind is LEASE and given in (None, "", _ANY_REVISION):  # who doesn't look takes another's lock
        cause = Cause("FieldValueInvalid", "Invalid value: must be specified for an update", _REVISION_FIELD)
        raise invalid(kind.name, name, [cause], kind.group)
    if given and given not in (_ANY_REVISION, stored["resourceVersion"]):
        message = "the object has been modified; please apply your changes to the latest version"
        raise conflict(kind.plural, name, f"{message} and try again", kind.group)
    if metadata.get("uid") and metadata["uid"] != stored["uid"]:
        message = f"Precondition failed: UID in object: {metadata['uid']}, UID stored: {stored['uid']}"
        raise conflict(kind.plural, name, message, kind.group)


def check_preconditions(kind: Kind, old: Object, options: DeleteOptions) -> None:
    """Raise StatusError 409 where uid or resourceVersion are not those that the client expects."""
    metadata = old["metadata"]
    wanted = (
        ("UID", options.uid, metadata["uid"]),
        ("ResourceVersion", options.resource_version, metadata["resourceVersion"]),
    )
    for word, given, stored in wanted:
        if given and given != stored:
            message = f"Precondition failed: {word} in precondition: {given}, {word} in object meta: {stored}"
            raise conflict(kind.plural, metadata["name"], message, kind.group)


def _check_namespace_open(write: WriteTransaction, namespace: str) -> None:
    found = write.namespace(namespace)
    if found is None:
        raise no_namespace(namespace, hints=write.settings.config.api.hints)
    if found["metadata"].get("deletionTimestamp"):
        text = f"unable to create new content in namespace {namespace} because it is being terminated"
        why = f"namespace {namespace} is being terminated"
        cause = Cause("NamespaceTerminating", why, "metadata.namespace")
        raise StatusError(403, "Forbidden", text, kind="namespaces", name=namespace, causes=[cause])


def _generate_name(write: WriteTransaction, kind: Kind, namespace: str, stem: str) -> str:
    for _ in range(8):
        name = stem[:58] + "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))
        if write.load(kind, namespace, name) is None:
            return name
    text = f'{kind.plural} "{stem}": no free name was found, please try again'
    raise StatusError(409, "AlreadyExists", text, kind=kind.plural)


def _already_exists(kind: Kind, name: str) -> StatusError:
    full = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    text = f'{full} "{name}" already exists'
    return StatusError(409, "AlreadyExists", text, kind=kind.plural, name=name, group=kind.group)


def generated(endpoint_slice: Object) -> StatusError:
    """403: slices that follow from Pods, or from Endpoints, are not written by clients."""
    name = endpoint_slice["metadata"].get("name") or ""
    source = "Endpoints" if is_mirrored(endpoint_slice) else "a Service and its Pods"
    text = (
        f'endpointslices.discovery.k8s.io "{name}" is forbidden: generated from {source}; '
        "write those, or a slice of your own without the label endpointslice.kubernetes.io/managed-by"
    )
    return StatusError(403, "Forbidden", text, kind="endpointslices", name=name, group="discovery.k8s.io")
