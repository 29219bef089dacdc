"""TLS between two ends in memory: what one makes of the other's certificate, with no network.

Standard library only.
"""

from __future__ import annotations

import ssl


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[str, str]:
    """Return until when the server's and the client's certificate are good, as certificates say it.

    "" for one that the other end does not look at.  Raises ssl.SSLError when the two can't agree.
    """
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    waiting = True
    while waiting:
        waiting = False
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting = True
    server_ends, client_ends = (str((end.getpeercert() or {}).get("notAfter", "")) for end in ends)
    return server_ends, client_ends
