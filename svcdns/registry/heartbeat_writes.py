"""What heartbeats write: that a Pod is late, or was heard of again, and that one which is silent goes.

Each looks whether the Pod is the one that is meant, by its uid, and still promises heartbeats.
"""

from __future__ import annotations

from svcdns.cluster.event_messages import heartbeat_messages, pod_expired
from svcdns.cluster.pod_conditions import with_heartbeat
from svcdns.cluster.readiness import HEARTBEAT, conditions_of
from svcdns.objects.heartbeat_rules import EXPIRE_ANNOTATION, HEARTBEAT_ANNOTATION, heartbeat_of
from svcdns.objects.kinds import POD

from . import accept, deletion
from .requests import DeleteOptions
from .transaction import Object, WriteTransaction

Key = tuple[str, str]
"""(namespace, name)"""


def _same(write: WriteTransaction, key: Key, uid: str) -> Object | None:
    """Return a Pod if it still is the one that is meant, and promises heartbeats."""
    pod = write.load(POD, *key)
    if pod is None or pod["metadata"]["uid"] != uid or heartbeat_of(pod) is None:
        return None
    return pod


def late(write: WriteTransaction, key: Key, uid: str) -> bool:
    """Write that a Pod's heartbeat is late; return whether the Pod is still there."""
    return _turned(write, key, uid, in_time=False)


def in_time(write: WriteTransaction, key: Key, uid: str) -> bool:
    """Write that a Pod was heard of again; return whether it is still there."""
    return _turned(write, key, uid, in_time=True)


def _turned(write: WriteTransaction, key: Key, uid: str, *, in_time: bool) -> bool:
    pod = _same(write, key, uid)
    if pod is None:
        return False
    stored = conditions_of(pod).get(HEARTBEAT) or {}
    if stored.get("status") != str(in_time):
        period = pod["metadata"]["annotations"][HEARTBEAT_ANNOTATION]
        accept.store(write, POD, pod, with_heartbeat(pod, in_time, period, write.now))
        write.messages += heartbeat_messages(pod, in_time, period)
    return True


def expired(write: WriteTransaction, key: Key, uid: str) -> bool:
    """Delete a Pod that has been silent for too long; return whether it still has to be looked after."""
    pod = _same(write, key, uid)
    if pod is not None:
        after = pod["metadata"]["annotations"].get(EXPIRE_ANNOTATION, "")
        write.messages.append(pod_expired(pod, after))
        deletion.delete(write, POD, *key, DeleteOptions(uid=uid))
    return False
