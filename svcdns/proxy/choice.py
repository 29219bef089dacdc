"""Which engine this process can use, and what is missing for the better one."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from svcdns.netlink.wire import ACK, NETFILTER, Message, Socket
from svcdns.proxy.engine import EngineError

NFT, USER, AUTO = "nft", "user", "auto"
_GET_GENERATION = 10 << 8 | 16
"""NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN: the message that asks for least and needs the same right as all."""
_ANY_FAMILY = bytes(4)
_OLDEST = (5, 10)
"""reject in prerouting (5.9), maps of a destination by concatenated keys (5.10)."""


class Choice(NamedTuple):
    """An engine, and in one line what keeps this process from using nft; "" where nothing does."""

    engine: str
    missing: str


def choose(wanted: str) -> Choice:
    """Return the engine to use: `auto` is nft where that works, else user.

    Raises EngineError where nft is wanted and does not work.
    """
    missing = missing_for_nft()
    if wanted == NFT and missing:
        raise EngineError(f"the engine nft cannot be used here: {missing}")
    if wanted == AUTO:
        return Choice(USER if missing else NFT, missing)
    return Choice(wanted, missing)


def missing_for_nft() -> str:
    """Return in one line what is missing for nft; "" where it can be used.  Changes nothing."""
    release = os.uname().release
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers < _OLDEST:
        return f"Linux {release} is too old; nft takes 5.10"
    try:
        with Socket(NETFILTER) as kernel:
            kernel.exchange([Message(_GET_GENERATION, ACK, _ANY_FAMILY)])
    except OSError as wrong:
        return _meaning(wrong)
    return ""


def _meaning(wrong: OSError) -> str:
    if wrong.errno in (errno.EPERM, errno.EACCES):
        return "it takes CAP_NET_ADMIN (root, or AmbientCapabilities=CAP_NET_ADMIN)"
    if wrong.errno in (errno.EINVAL, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
        return "this kernel has no nf_tables"
    return f"nf_tables: {wrong.strerror}"
