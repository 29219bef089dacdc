"""Server-side apply inside a write: create the object, or merge the configuration into what is stored.

What is merged how, and who owns what then, is `objects.server_side_apply`'s business; here the outcome goes
the way of every other write.
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

from svcdns.cluster.pod_conditions import as_served, as_written
from svcdns.objects import server_side_apply
from svcdns.objects.errors import conflict, not_found
from svcdns.objects.kinds import POD, Kind
from svcdns.objects.managed_fields import APPLY, SERVER, Authorship

from . import accept, deletion
from .requests import WriteOptions, Written
from .transaction import Object, WriteTransaction


def apply_configuration(
    write: WriteTransaction,
    kind: Kind,
    name: tuple[str, str],
    configuration: Object,
    options: WriteOptions,
    subresource: str,
) -> Written:
    """Apply a configuration that has passed the schema; `name` is (namespace, name).

    Raises StatusError: 409 for conflicts, 404 for the status of what is missing, and as every write does.
    """
    old = write.load(kind, *name)
    manager = options.field_manager or SERVER
    if old is None:
        _check_may_be_missing(kind, name[1], configuration, subresource)
        entries = server_side_apply.first_applied(kind, configuration, manager, write.now)
        return accept.create(write, kind, name[0], configuration, Authorship(settled=entries))
    owner = (manager, APPLY, subresource)
    live = as_written(old) if kind is POD else old
    body, entries = server_side_apply.apply(
        kind, live, configuration, owner, force=options.force, time=write.now
    )
    if kind is POD:
        body = as_served(old, body)
    return deletion.update(write, kind, old, body, subresource, Authorship(settled=entries))


def _check_may_be_missing(kind: Kind, name: str, configuration: Object, subresource: str) -> None:
    if subresource:
        raise not_found(kind.plural, name, kind.group)
    metadata = configuration.get("metadata") or {}
    for word in ("uid", "resourceVersion"):
        if metadata.get(word):
            text = f"{word} mismatch: the provided object specified {word} {metadata[word]}, "
            raise conflict(kind.plural, name, text + "and no existing object was found", kind.group)
