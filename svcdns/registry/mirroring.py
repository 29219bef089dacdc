"""Mirrored EndpointSlices: kept in line with Endpoints that clients wrote, in the same transaction.

What they hold is said by `cluster.mirroring`; here they are made, changed and removed.  They stand while
there is a Service of that name without a selector: with one, its Pods are its endpoints, and the Endpoints
wait.  One family and set of ports is one slice, which is named after them: so what there is follows from the
Endpoints, whatever they were before.
"""

from __future__ import annotations

from svcdns.cluster import event_messages, mirroring
from svcdns.cluster.endpoints import selector_of
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, SERVICE

from . import slice_index
from .transaction import Object, WriteTransaction, encode, present


def service_changed(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    """Mirror the Endpoints of a Service that came, or lost its selector; or no longer."""
    if old is not None and new is not None and (selector_of(old) is None) == (selector_of(new) is None):
        return
    metadata = present(old, new)["metadata"]
    found = write.load(ENDPOINTS, metadata["namespace"], metadata["name"])
    if found is None:
        return
    if new is not None and selector_of(new) is not None:
        write.messages.append(event_messages.endpoints_wait(found))
    _bring(write, found, new, _wanted(found, new).slices)


def endpoints_changed(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    """Mirror Endpoints that were written; take back what mirrored those that are gone."""
    metadata = present(old, new)["metadata"]
    service = write.load(SERVICE, metadata["namespace"], metadata["name"])
    wanted = _wanted(new, service)
    if wanted.skipped:
        text = event_messages.addresses_not_mirrored(
            present(old, new), wanted.skipped, mirroring.MOST_ADDRESSES
        )
        write.messages.append(text)
    _bring(write, present(old, new), service, wanted.slices)


def _wanted(endpoints: Object | None, service: Object | None) -> mirroring.Mirrored:
    """Return what is to be mirrored, which is nothing without a Service, or for one with a selector."""
    if endpoints is None or service is None or selector_of(service) is not None:
        return mirroring.Mirrored([], 0)
    return mirroring.mirrored(endpoints) if mirroring.is_to_mirror(endpoints) else mirroring.Mirrored([], 0)


def _bring(write: WriteTransaction, endpoints: Object, service: Object | None, wanted: list[Object]) -> None:
    """Bring the mirrored slices of a name to what is wanted; those that stay as they are, are not written."""
    standing = _standing(write, endpoints["metadata"])
    about = mirroring.metadata_of(endpoints)
    for content in wanted:
        _save(write, endpoints, standing.pop(_key(content), None), content, about)
    for old in standing.values():
        write.remove(ENDPOINTSLICE, old)
        slice_index.slice_changed(write, old, None)


def _standing(write: WriteTransaction, metadata: Object) -> dict[bytes, Object]:
    """Return the slices that mirror Endpoints of a name now, by family and ports."""
    namespace = metadata["namespace"]
    names = slice_index.names_of(write, namespace, metadata["name"], mirrored=True)
    found = (write.load(ENDPOINTSLICE, namespace, name) for name in names)
    return {_key(old): old for old in found if old is not None}


def _key(endpoint_slice: Object) -> bytes:
    return encode([endpoint_slice["addressType"], endpoint_slice["ports"]])


def _save(
    write: WriteTransaction, endpoints: Object, before: Object | None, content: Object, about: Object
) -> None:
    made = before
    if made is None:
        made = slice_index.make_slice(
            write,
            endpoints,
            about["labels"],
            content["addressType"],
            content["ports"],
            _key(content).decode(),
        )
    kept = {key: value for key, value in made["metadata"].items() if key != "annotations"}
    now = {**made, **content, "metadata": {**kept, **about}}
    if now != before:
        write.save(ENDPOINTSLICE, before, now)
        slice_index.slice_changed(write, before, now)
