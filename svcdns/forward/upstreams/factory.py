"""The transport that a configured upstream is asked by.

upstream = make(parse("tls://9.9.9.9#dns.quad9.net"), None)
response = await upstream.exchange(query, 1.0)     # or NoReply
"""

from __future__ import annotations

import ssl
from pathlib import Path

from svcdns.config.upstream_spec import Spec

from .upstream import Upstream


def make(spec: Spec, ca: Path | None = None) -> Upstream:
    """Return the transport for an upstream, which is no file, without connecting to it.

    `ca` is a file of certificates to trust instead of the system's; raises OSError where it can't be read
    or holds none.
    """
    if spec.kind == "udp":
        from .datagram import UdpUpstream

        return UdpUpstream(str(spec), spec.host, spec.port)
    if spec.kind == "https":
        from .https import HttpsUpstream

        return HttpsUpstream(spec, tls_context(ca))
    from .stream import StreamUpstream

    context = tls_context(ca) if spec.kind == "tls" else None
    return StreamUpstream(str(spec), spec.host, spec.port, context, spec.server_name)


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """Return what clients use: certificates and names are verified, TLS 1.2 at least."""
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
