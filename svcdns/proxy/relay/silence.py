"""Silence from user space: a filter on a socket that listens lets the kernel drop what some clients send.

They get no answer at all, not even to a SYN, as with a packet filter's `drop`; it takes no rights.  The
filter is a classic BPF program (socket(7), SO_ATTACH_FILTER) that looks at the source address in the IP
header.

Rules: tests hold one after the other, and all must hold.  A program has at most 4,096 instructions.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Sequence

from svcdns.proxy.relay.picking import ClientTest, Network

_LOAD_WORD, _AND, _JUMP_EQUAL, _JUMP, _RETURN = 0x20, 0x54, 0x15, 0x05, 0x06
_NETWORK_HEADER = 0xFFF00000
"""SKF_NET_OFF (-0x100000): offsets from here on are in the IP header."""
_SOURCE = {4: 12, 6: 8}
"""Where the source address stands in the IP header, by version."""
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_MOST = 4096
_ALL = 0xFFFFFFFF
_INSTRUCTION = struct.Struct("=HBBI")

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand; jumps are counted from the next instruction."""


class TooLong(ValueError):
    """More networks than a filter has room for."""


def program(version: int, tests: Sequence[ClientTest]) -> list[Instruction]:
    """Return a filter that keeps what passes all tests.  Raises TooLong."""
    made: list[Instruction] = []
    for networks, wanted in tests:
        made += _test([one for one in networks if one.version == version], wanted)
    made.append((_RETURN, 0, 0, _ALL))
    if len(made) > _MOST:
        raise TooLong(f"{len(made)} instructions")
    return made


def attach(listening: socket.socket, tests: Sequence[ClientTest]) -> bool:
    """Have a socket hear only those who pass; return False where the kernel has no room for that."""
    if not tests:
        detach(listening)
        return True
    version = 6 if listening.family == socket.AF_INET6 else 4
    try:
        instructions = program(version, tests)
    except TooLong:
        return False
    octets = b"".join(_INSTRUCTION.pack(*one) for one in instructions)
    buffer = ctypes.create_string_buffer(octets, len(octets))
    header = struct.pack("@HP", len(instructions), ctypes.addressof(buffer))
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)
    except OSError as wrong:
        if wrong.errno in (errno.ENOMEM, errno.EINVAL):  # net.core.optmem_max
            return False
        raise
    return True


def detach(one: socket.socket) -> None:
    """Have a socket hear everybody; it may have no filter."""
    try:
        one.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    except OSError as wrong:
        if wrong.errno != errno.ENOENT:
            raise


def _test(networks: Sequence[Network], wanted: bool) -> list[Instruction]:
    """Return what ends with "drop" unless the address is in one of the networks, or in none."""
    blocks = [_is_in(network) for network in networks]
    total = sum(len(block) + 1 for block in blocks)
    made: list[Instruction] = []
    for block in blocks:
        made += block
        made.append((_JUMP, 0, 0, total - len(made)))  # found: over the one that follows all blocks
    return [*made, *([] if wanted else [(_JUMP, 0, 0, 1)]), (_RETURN, 0, 0, 0)]


def _is_in(network: Network) -> list[Instruction]:
    """Return what goes on behind the next instruction unless the source address is in the network."""
    value, mask = network.network_address.packed, network.netmask.packed
    words = [
        (offset, *struct.unpack_from("!I", value, offset), *struct.unpack_from("!I", mask, offset))
        for offset in range(0, len(value), 4)
        if any(mask[offset : offset + 4])
    ]
    made: list[Instruction] = []
    left = 3 * len(words)
    for offset, bits, ones in words:
        left -= 3
        made.append((_LOAD_WORD, 0, 0, _NETWORK_HEADER + _SOURCE[network.version] + offset))
        made.append((_AND, 0, 0, ones))
        made.append((_JUMP_EQUAL, 0, left + 1, bits))
    return made
