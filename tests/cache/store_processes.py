"""What the cache tests share, and their processes: a reader that obeys, a writer that is there to be killed.

A process must not open one LMDB environment twice, so whoever reads beside a Cache is a process of its own.
"""

import contextlib
import random
import subprocess
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from svcdns.cache import generations
from svcdns.cache.store import Cache, CacheReader

KEYS = 500


def key(number: int) -> bytes:
    return b"com\0example%d\0\0\1\0" % number


def value(rnd: random.Random) -> bytes:
    """Return octets that say whether they are whole; some have pages of their own."""
    octets = rnd.randbytes(rnd.choice([1, 50, 200, 1000, 3000, 20_000]))
    return octets + blake2b(octets, digest_size=16).digest()


def is_whole(octets: bytes) -> bool:
    return blake2b(octets[:-16], digest_size=16).digest() == octets[-16:]


def flush(cache: Cache, prefix: bytes) -> int:
    """Remove all entries whose keys begin so; return how many there were."""
    flushed, is_done = cache.flush_some(prefix)
    while not is_done:
        some, is_done = cache.flush_some(prefix)
        flushed += some
    return flushed


def latest(folder: Path) -> int:
    """Return the number of the last generation, which a forwarder would tell its workers; 0 for none."""
    return max(generations.numbers(generations.home(folder)), default=0)


def reader_of(folder: Path) -> CacheReader:
    """Return a reader of the last generation."""
    reader = CacheReader(folder)
    reader.refresh(latest(folder))
    return reader


def read(folder: Path) -> None:
    """Answer lines of orders: "look", or the key to get in hex."""
    reader = reader_of(folder)
    for line in sys.stdin:
        if line == "look\n":
            reader.refresh(latest(folder))
            print("looked", flush=True)
        else:
            found = reader.get(bytes.fromhex(line))
            print("none" if found is None else found.hex(), flush=True)


def write(folder: Path) -> None:
    """Write until killed: say how many entries there were, and when the first are written."""
    rnd = random.Random()
    cache = Cache(folder, 1 << 20)
    print(cache.entries, flush=True)
    cache.put(key(0), value(rnd))
    cache.commit()
    print("writes", flush=True)
    while True:
        for _ in range(rnd.choice([1, 3, 64])):
            cache.put(key(rnd.randrange(KEYS)), value(rnd))
        if rnd.random() < 0.01:
            flush(cache, key(rnd.randrange(KEYS))[:-4])
        cache.commit()


OCTETS = 1 << 20


class Reader:
    """A CacheReader in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def get(self, key: bytes) -> bytes | None:
        found = self._order(key.hex())
        return None if found == "none" else bytes.fromhex(found)

    def refresh(self) -> None:
        assert self._order("look") == "looked"

    def _order(self, order: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@contextlib.contextmanager
def program(name: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, name, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[Reader]:
    with program("read", folder) as process:
        yield Reader(process)


def data_file(folder: Path) -> Path:
    (found,) = folder.glob("cache/*/data.mdb")
    return found


def filled(folder: Path, entries: int = 10) -> Cache:
    cache = Cache(folder, OCTETS)
    for number in range(entries):
        cache.put(key(number), b"value %d" % number)
    cache.commit()
    return cache


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](Path(sys.argv[2]))
