"""Messages over TCP: each behind two octets of length (RFC 1035 section 4.2.2)."""

from __future__ import annotations


class MessageBuffer(bytearray):
    """What has come and is yet to be taken, a whole number of messages or not."""

    def next_size(self) -> int | None:
        """Return the octets of the first message, None while it is not complete."""
        if len(self) < 2:
            return None
        size = self[0] << 8 | self[1]
        return size if len(self) >= 2 + size else None

    def take(self) -> bytes | None:
        """Take the first message out; None while it is not complete."""
        size = self.next_size()
        if size is None:
            return None
        message = bytes(self[2 : 2 + size])
        del self[: 2 + size]
        return message
