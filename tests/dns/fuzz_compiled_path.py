"""Packets and rows with changed octets, given to the compiled path under AddressSanitizer: `make fuzz`.

    python tests/dns/fuzz_compiled_path.py [PACKETS]

Builds the extension for itself with AddressSanitizer and UBSan, and runs again with that one loaded.
Python's memory is malloc's then, so a read or a write beyond a packet, a row or a reply ends the run.  There
is no store: rows are octets made up here.  A quarter of the packets goes through a Batch and two sockets.
"""

import contextlib
import importlib.util
import os
import random
import socket
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType

import msgspec

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from forward.unit.outside_names import kinds  # noqa: E402
from toolbox.answerer_harness import Z, glue, rrset, soa_sets  # noqa: E402
from toolbox.cached_replies import NOW  # noqa: E402
from toolbox.question_packets import NAMES, OPTS, mutated, nearly_plain, question  # noqa: E402

from svcdns.dns.no_reply import NOT_PLAIN  # noqa: E402
from svcdns.names.packed import pack_row  # noqa: E402
from svcdns.wire.key import key_of, wire_of  # noqa: E402

LOADED = "SVCDNS_SANITIZED_EXTENSION"
SANITIZE = [
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
    "-g",
    "-O1",
]
WARNINGS = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]


def build(folder: Path) -> Path:
    """Compile the extension with the sanitizers."""
    made = folder / "compiled_path.so"
    source = ROOT / "svcdns" / "dns" / "compiled_path.c"
    include = f"-I{sysconfig.get_path('include')}"
    compiler = os.environ.get("CC", "cc")
    command = [compiler, "-shared", "-fPIC", *WARNINGS, *SANITIZE, include, str(source), "-o", str(made)]
    subprocess.run(command, check=True)
    return made


def run_sanitized(arguments: list[str]) -> int:
    """Run this file again with a sanitized extension; return what it ends with."""
    with tempfile.TemporaryDirectory() as folder:
        extension = build(Path(folder))
        find = [os.environ.get("CC", "cc"), "-print-file-name=libasan.so"]
        library = subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip()
        # Python keeps much until its end: leaks are looked for by the tests, not here.
        options = {"ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc", "LD_PRELOAD": library}
        environment = {**os.environ, **options, LOADED: str(extension)}
        return subprocess.run([sys.executable, __file__, *arguments], env=environment).returncode


def load(extension: str) -> ModuleType:
    """Import the extension from this file."""
    spec = importlib.util.spec_from_file_location("compiled_path", extension)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows() -> list[bytes]:
    """Return rows as the registry makes them, with and without tables of offsets and additional RRs."""
    names = [f"{'long' * (n % 3)}t{n}.web.default.svc.{Z}" for n in range(12)]
    more = tuple(glue(name, "A", f"10.0.0.{n}") for n, name in enumerate(names))
    more += (glue(names[0], "AAAA", "fd00::1"), glue(names[0], "AAAA", "fd00::2"))
    made = []
    for count in (1, 2, 5, 12):
        srv = rrset("SRV", *(f"0 5 1 {name}." for name in names[:count]), glue=more[: count + 2])
        mx = rrset("MX", *(f"5 {name}." for name in names[:count]), glue=more)
        addresses = rrset("A", *(f"10.0.1.{n}" for n in range(count)))
        made.append(pack_row([addresses, srv, mx, *soa_sets(Z)]))
    targets = (f"web.{Z}.", f"{'x' * 63}.example.com.", "o\\001d.z9.example.com.", ".", f"{'y.' * 100}{Z}.")
    return [*made, pack_row([]), *(pack_row([rrset("CNAME", target)]) for target in targets)]


def entries() -> list[bytes]:
    """Return entries of the cache, all fresh at NOW."""
    return [stored for kind, stored in kinds("www.example.com").items() if "over" not in kind]


class World:
    """A view, its table and its cursor in one: all that is asked for are made-up octets."""

    def __init__(self, rnd: random.Random) -> None:
        self.rnd = rnd
        self.may_hand_on = rnd.random() < 0.5
        self.rows = rows()
        self.entries = entries()

    def get(self, key: bytes, default: None, table: object) -> bytes | None:
        """Return a row, a damaged one, or none."""
        return self.damaged(self.rows)

    def cached(self, key: bytes) -> bytes | None:
        """Return an entry, a damaged one, or none."""
        return self.damaged(self.entries)

    def damaged(self, rows: list[bytes]) -> bytes | None:
        """Return one of these, often with octets changed or cut off, or none."""
        rnd = self.rnd
        row = bytearray(rnd.choice(rows))
        if rnd.random() < 0.3:
            return None
        for _ in range(rnd.choice([0, 0, 1, 2, 6])):
            row[rnd.randrange(min(len(row), rnd.choice([2, 60, 9999])))] = rnd.choice(
                [0, 1, 255, rnd.randrange(256)]
            )
        if rnd.random() < 0.1:
            del row[rnd.randrange(len(row)) :]
        return bytes(row)

    def cursor(self, of_file: bool) -> "World":
        return self

    def set_range(self, key: bytes) -> bool:
        self.asked = key
        self.found = key + b"x\0" if self.rnd.random() < 0.5 else self.near()
        return self.rnd.random() < 0.9

    def near(self) -> bytes:
        """Return a key that begins as the one that was asked for, or none."""
        return self.rnd.choice(
            [b"", b"other", self.asked[: self.rnd.randrange(len(self.asked) + 1)] + b"a\0"]
        )

    def prev(self) -> bool:
        self.found = self.near()
        return True

    last = prev

    def key(self) -> bytes:
        return self.found

    def negative_soa(self, zone: object) -> tuple[bytes, int]:
        if self.rnd.random() < 0.01:
            raise LookupError("no SOA")
        return self.rnd.randbytes(self.rnd.choice([0, 60, 490, 5000])), len(wire_of(str(zone)))

    def describe(self, table: object) -> tuple[object, ...]:
        """Return zones of all kinds, sometimes very many."""
        rnd = self.rnd
        many = [f"z{n}.example.com" for n in range(rnd.choice([0, 99]))]
        origins = sorted([Z, "96.10.in-addr.arpa", "example.com", *many], key=key_of)
        zones = []
        for number, origin in enumerate(origins):
            of_file = origin != Z and rnd.random() < 0.5
            flags = rnd.choice([0, 0, 2, 4, 8, 16, 32, 32]) | of_file
            above = rnd.randrange(-1, number)
            prefix = b"\0\0\0\7" * of_file
            zones.append((origin, key_of(origin), flags, above, 0, prefix, len(wire_of(origin))))
        keys = [key_of(name) for name in (Z, f"svc.{Z}", f"pod.{Z}")]
        return tuple(zones), origins.index(Z), *keys, rnd.random() < 0.7


def fuzz(module: ModuleType, packets: int, seed: int) -> int:
    """Give so many packets to the extension; return how many of those to a Path had a reply."""
    rnd = random.Random(seed)
    world, replies = World(rnd), 0
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        client.connect(server.getsockname())
        client.setblocking(False)
        for _ in range(max(packets // 400, 1)):
            table = object()
            types = dict.fromkeys((1, 2, 5, 6, 12, 15, 16, 28, 33, 65), 0)
            callbacks = (world.describe, lambda _, table=table: (table, world.get, 1, 2), rnd.random)
            sizes = rnd.choice([512, 1232, 4096])
            path = module.Path(
                [0] * 9, sizes, types, *callbacks, 1, 1, 2, NOT_PLAIN, None, world.cached, lambda: NOW
            )
            for _ in range(300):
                reply = path.answer(some_packet(rnd), world, rnd.randrange(2), rnd.choice([1, 3, 3, 0]))
                assert reply is NOT_PLAIN or (isinstance(reply, bytes) and len(reply) > 12)
                replies += reply is not NOT_PLAIN
            batch = module.Batch(path, server.fileno(), {"127.0.0.1": 3}, False)
            for _ in range(2):
                for _ in range(50):
                    client.send(some_packet(rnd))
                assert batch.receive() == 50
                for number, packet, *_ in batch.answer(world):
                    batch.put(number, packet[:12] * rnd.randrange(100))
                recorded = batch.recorded(rnd.randrange(60), rnd.choice([1, 2, 16]))
                assert len(msgspec.msgpack.decode(b"\x92" + recorded[1])[1]) == recorded[0]
                batch.send()
                drain(client)
    return replies


def some_packet(rnd: random.Random) -> bytes:
    """Return a question, a changed one, or octets of any kind."""
    dice = rnd.random()
    if dice < 0.05:
        return rnd.randbytes(rnd.randrange(600))
    if dice < 0.1:
        labels = b"".join(
            bytes((n,)) + rnd.randbytes(n) for n in rnd.choices(range(1, 64), k=rnd.randrange(8))
        )
        return question(rnd.choice(NAMES), 1, 1, rnd.choice(OPTS))[:12] + labels + wire_of(Z) + b"\0\1\0\1"
    return (nearly_plain if dice < 0.8 else mutated)(rnd)


def drain(client: socket.socket) -> None:
    """Receive what was sent back."""
    with contextlib.suppress(BlockingIOError):
        while client.recv(9000):
            pass


def main(arguments: list[str]) -> int:
    """Fuzz, in a process with the sanitizers."""
    if LOADED not in os.environ:
        return run_sanitized(arguments)
    packets, seed = int(arguments[0]) if arguments else 1_000_000, random.randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    replies = fuzz(load(os.environ[LOADED]), packets, seed)
    print(f"{packets:,} packets, {replies:,} replies, nothing beyond an end")
    return 0 if replies > packets // 20 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
