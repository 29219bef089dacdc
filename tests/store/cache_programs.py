"""Processes of the cache tests: a reader that does as it is told, and a writer that is there to be killed.

A process must not open one LMDB environment twice, so whoever reads beside a Cache is a process of its own.
"""

from __future__ import annotations

import random
import sys
from hashlib import blake2b
from pathlib import Path

from svcdns.store.cache import Cache, CacheReader

KEYS = 500


def key(number: int) -> bytes:
    return b"com\0example%d\0\0\1\0" % number


def value(rnd: random.Random) -> bytes:
    """Return octets that say whether they are whole; some have pages of their own."""
    octets = rnd.randbytes(rnd.choice([1, 50, 200, 1000, 3000, 20_000]))
    return octets + blake2b(octets, digest_size=16).digest()


def is_whole(octets: bytes) -> bool:
    return blake2b(octets[:-16], digest_size=16).digest() == octets[-16:]


def read(folder: Path) -> None:
    """Answer lines of orders: "look", or the key to get in hex."""
    reader = CacheReader(folder)
    for line in sys.stdin:
        if line == "look\n":
            reader.look_again()
            print("looked", flush=True)
        else:
            found = reader.get(bytes.fromhex(line))
            print("none" if found is None else found.hex(), flush=True)


def write(folder: Path) -> None:
    """Write until killed."""
    rnd = random.Random()
    cache = Cache(folder, 1 << 20)
    print(cache.entries, flush=True)
    while True:
        for _ in range(rnd.choice([1, 3, 64])):
            cache.put(key(rnd.randrange(KEYS)), value(rnd))
        if rnd.random() < 0.01:
            cache.flush(key(rnd.randrange(KEYS))[:-4])
        cache.commit()


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](Path(sys.argv[2]))
