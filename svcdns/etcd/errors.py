"""What a request to etcd can come to instead of an answer, and what an answer that is none says.

What counts is whether a transaction may have been carried out: only of the refusals that are known here is it
certain that it was not.  The texts are etcd's own (api/v3rpc/rpctypes/error.go), those of 3.4 to 3.6.
"""

from __future__ import annotations

import msgspec

from . import messages
from .messages import Failed

TEXT = 200
"""Octets that are shown of an answer that is not etcd's."""

_UNAUTHENTICATED = ("invalid auth token", "user name is empty", "revision of auth store is old")
_NO_LEADER = "no leader"
_FULL = "space exceeded"
_DENIED = "permission denied"
_NOT_CARRIED_OUT = (
    _NO_LEADER,
    "too many requests",
    "authentication failed",
    _DENIED,
    "authentication is not enabled",
    "not supported for learner",
    "rror while dialing",
    "authentication handshake failed",
    "HTTP status 4",
    *_UNAUTHENTICATED,
)
_OF_THE_CLUSTER = (_FULL, _DENIED, "authentication failed", "is not enabled")
"""What all members say alike."""
_TOO_LARGE = "larger than max"
_REMEDIES = {
    _FULL: "NOSPACE: compact and defragment it, then `etcdctl alarm disarm`",
    _DENIED: "the user needs to read and write all keys below store.etcd_prefix",
    "authentication failed": "store.etcd_user and store.etcd_password_file",
    "user name is empty": "it asks for a user: store.etcd_user and store.etcd_password_file",
    "CommonName of client": "beside store.etcd_user, store.etcd_certificate has to be without a common name",
    "authentication is not enabled": "store.etcd_user is set: `etcdctl auth enable`, or name no user",
    "authentication handshake failed": "the certificates of members have to be for clients too: clientAuth",
    "HTTP request to an HTTPS server": "store.etcd: https:// instead of http://",
    "Server disconnected": "if it always does: https:// in store.etcd, or store.etcd_certificate",
    "HTTP status 404": "store.etcd: the ports for clients, of etcd 3.4 or newer",
    "store.etcd_certificate is refused": "renew it, or set the clock: it is read again when it changes",
    "certificate has expired": "a member's certificate, or its CA's; or this host's clock is wrong",
    "certificate is not yet valid": "a member's certificate, or its CA's; or this host's clock is wrong",
    "certificate is not valid for": "the certificates of members have to name the hosts of store.etcd",
    "WRONG_VERSION_NUMBER": "store.etcd: http:// instead of https://, if it has no TLS",
    "CERTIFICATE_VERIFY_FAILED": "store.etcd_ca: who has signed the certificates of members",
    "CERTIFICATE_REQUIRED": "it asks for a certificate: store.etcd_certificate and store.etcd_key",
    "ALERT_BAD_CERTIFICATE": "store.etcd_certificate: one for clients, of etcd's --trusted-ca-file",
    "ALERT_UNKNOWN_CA": "store.etcd_certificate: one of etcd's --trusted-ca-file",
    "ALERT_CERTIFICATE_EXPIRED": "store.etcd_certificate has run out: it is read again when it changes",
    "too many operations": "etcd's --max-txn-ops is less than 128",
    "request is too large": "etcd's --max-request-bytes",
    _TOO_LARGE: "etcd's --max-request-bytes",
    "not supported for learner": "store.etcd: voting members only",
}
_INVALID, _OUT_OF_RANGE = 3, 11
"""Codes of gRPC."""


class Unavailable(Exception):
    """No member takes the request, for this reason: nothing was changed, and nothing will be."""


class Denied(Unavailable):
    """The user may not ask for this."""


class Unknown(Exception):
    """Whether a transaction was carried out is not known."""


class Full(Unknown):
    """etcd says that it has no room, and has done with the transaction.

    The first one for which there is none is carried out all the same (quotaApplierV3 of etcd 3.4 to 3.6).
    """


class Rejected(Exception):
    """etcd takes no such request, whichever member is asked."""


class Compacted(Exception):
    """What is asked for is older than what etcd keeps."""


class NotYet(Exception):
    """What is asked for is newer than what etcd has."""


def read_failed(octets: bytes, status: int) -> Failed:
    """Return what an answer says whose HTTP status is not 200."""
    try:
        failed = messages.read_failed(octets)
    except msgspec.DecodeError:
        text = octets[:TEXT].decode(errors="replace").strip()
        return Failed(f"HTTP status {status}" + (f": {text}" if text.isprintable() and text else ""))
    if not failed.message:
        failed.message = str(failed.error or f"HTTP status {status}")
    return failed


def raise_if_final(failed: Failed) -> None:
    """Raise what it comes to whoever is asked, and however often: Compacted, NotYet, Rejected."""
    why = failed.message
    if failed.code == _OUT_OF_RANGE:
        raise (NotYet if "future revision" in why else Compacted)(why)
    if _TOO_LARGE in why or (failed.code == _INVALID and not was_not_carried_out(failed)):
        raise Rejected(with_remedy(why))


def was_not_carried_out(failed: Failed) -> bool:
    """Return whether it is certain that nothing was changed, nor will be."""
    return any(words in failed.message for words in _NOT_CARRIED_OUT)


def unknown(failed: Failed) -> Unknown:
    """Return what a failure is of which it is not certain that nothing was changed."""
    why = with_remedy(failed.message)
    return Full(why) if _FULL in why else Unknown(why)


def unavailable(why: str) -> Unavailable:
    """Return what it is that no member takes a request, with what helps where that is known."""
    return (Denied if _DENIED in why else Unavailable)(with_remedy(why))


def is_of_member(failed: Failed) -> bool:
    """Return whether another member may say something else."""
    return not any(words in failed.message for words in _OF_THE_CLUSTER)


def has_no_leader(why: str) -> bool:
    """Return whether a member is cut off from the others, or all are about to choose a leader."""
    return _NO_LEADER in why


def wants_token(why: str) -> bool:
    """Return whether the token of a user has to be asked for again."""
    return any(words in why for words in _UNAUTHENTICATED)


def with_remedy(why: str) -> str:
    """Return a reason, and what helps where that is known."""
    found = [remedy for words, remedy in _REMEDIES.items() if words in why]
    return f"{why} ({found[0]})" if found else why


def has_remedy(why: str) -> bool:
    """Return whether it is known what helps: an option, or something that has to be done to etcd."""
    return any(words in why for words in _REMEDIES)
