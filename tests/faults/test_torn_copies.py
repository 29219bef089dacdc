"""Copies of a data folder that were made wrongly, and damage to its pages.

A torn copy (the first 32 KiB, a moment later the rest, under writers) is whole or refused in one line;
nothing comes up with parts missing.  Damaged pages end in one line, a server that answers DNS from what can
be read and 503 for the API, and no writer that is started again and again.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from toolbox.calls import SERVICES, Calls, fqdn
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.registry.backup import what_is_wrong
from svcdns.server.counters import WRITER
from svcdns.store.environment import MAP_OCTETS, open_store
from svcdns.store.snapshot import Snapshots
from svcdns.system.in_child import outcome
from svcdns.wire.key import key_of

NAMES = [f"web-{number}" for number in range(120)]
HEAD = 32 * 1024
WAY_OUT = "svcdns restore FILE --data"


@pytest.fixture(scope="module")
def busy() -> Iterator[RunningServer]:
    """A server with 120 Services that three writers keep busy."""
    with RunningServer(workers=1) as server:
        calls = Calls(server.api)
        for name in NAMES:
            calls.create_service(name)
        over = threading.Event()

        def write(writer: int) -> None:
            own = Calls(server.api)
            number = 0
            while not over.is_set():
                number += 1
                own.create_service(f"busy-{writer}-{number}")
                own.delete(SERVICES, f"busy-{writer}-{number}")

        writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for writer in writers:
            writer.start()
        yield server
        over.set()
        for writer in writers:
            writer.join()


def torn(source: Path, target: Path, pause: float) -> None:
    target.parent.mkdir(mode=0o700)
    with source.open("rb") as file, target.open("wb") as out:
        out.write(file.read(HEAD))
        time.sleep(pause)
        shutil.copyfileobj(file, out)


def is_whole(folder: Path) -> bool:
    """Whether the writer would take a store."""
    return not outcome(lambda: what_is_wrong(folder))


def _assert_complete(folder: Path) -> None:
    """Each Service of a store has its row and its answers, and the other way round."""
    store = open_store(folder, "reader")
    begun = Snapshots(store).begin()
    with begun.txn as txn:
        for name in NAMES:
            assert txn.get(f"Service\0default\0{name}".encode(), db=store.tables.objects), name
        with txn.cursor(db=store.tables.objects) as cursor:
            keys = [bytes(key).decode().split("\0") for key in cursor.iternext(values=False)]
        names = {name for kind, _, name in keys if kind == "Service"}
        for name in names:
            assert begun.row(key_of(f"{name}.default.svc.cluster.local."))
        busy = {f"busy-{writer}-{number}" for writer in range(3) for number in range(1, 3000)}
        assert not [n for n in busy - names if begun.row(key_of(f"{n}.default.svc.cluster.local."))]
    store.close()


def test_a_torn_copy_is_whole_or_refused(busy: RunningServer, tmp_path: Path) -> None:
    outcomes = []
    for number in range(30):
        folder = tmp_path / str(number)
        torn(busy.data / "data.mdb", folder / "data.mdb", 0.3 if number % 2 else 0.02)
        outcomes.append(is_whole(folder))
        if outcomes[-1]:
            _assert_complete(folder)
    assert not all(outcomes), "under writers most are torn"


def test_a_server_on_a_torn_copy_says_so_in_one_line(busy: RunningServer, tmp_path: Path) -> None:
    for number in range(30):
        folder = tmp_path / str(number)
        torn(busy.data / "data.mdb", folder / "data.mdb", 0.3)
        if not is_whole(folder):
            break
    server = RunningServer(workers=1, data=folder)
    server.launch()
    try:
        assert server.process is not None
        assert server.process.wait(GUARD_SECONDS) == 1
        (line,) = [line for line in server.log().splitlines() if line.startswith("svcdns: ")]
        assert f"{WAY_OUT} {folder} --force" in line, server.log()
        assert "Traceback" not in server.log() and "starting it again" not in server.log()
    finally:
        server.close()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that a server has filled and left."""
    with RunningServer(workers=1) as server:
        calls = Calls(server.api)
        for name in NAMES:
            calls.create_service(name)
        calls.close()
        assert server.stop() == 0
        kept = tmp_path_factory.mktemp("good") / "data"
        shutil.copytree(server.data, kept)
        return kept


def test_data_without_counts_are_taken_and_get_them(good: Path, tmp_path: Path) -> None:
    """As an older svcdns leaves them, also one that wrote after a newer one had counted."""
    folder = tmp_path / "data"
    shutil.copytree(good, folder)
    with lmdb.open(str(folder), max_dbs=64, map_size=MAP_OCTETS) as env:
        meta = env.open_db(b"meta", create=False)
        with env.begin(write=True) as txn:
            layout = int.from_bytes(txn.get(b"layout", db=meta) or b"")
            txn.put(b"layout", layout.to_bytes(4), db=meta)
    with RunningServer(workers=1, data=folder) as server:
        assert server.answers(fqdn("web-1"))
        assert server.stop() == 0
    store = open_store(folder, "writer")
    with store.read() as txn:
        assert len(txn.get(b"layout", db=store.tables.meta) or b"") == 8
    store.check()
    store.close()


def rows_missing(folder: Path) -> None:
    with lmdb.open(str(folder), max_dbs=64, map_size=MAP_OCTETS) as env:
        table = env.open_db(b"answers_a", create=False)
        with env.begin(write=True) as txn, txn.cursor(db=table) as cursor:
            cursor.first()
            cursor.delete()


def cut_in_half(folder: Path) -> None:
    data = folder / "data.mdb"
    os.truncate(data, data.stat().st_size // 2)


def layout_flipped(folder: Path) -> None:
    """One bit, which is no version to come."""
    with lmdb.open(str(folder), max_dbs=64, map_size=MAP_OCTETS) as env:
        meta = env.open_db(b"meta", create=False)
        with env.begin(write=True) as txn:
            layout = int.from_bytes(txn.get(b"layout", db=meta) or b"")
            txn.put(b"layout", (layout | 1 << 61).to_bytes(8), db=meta)


@pytest.mark.parametrize("harm", [rows_missing, cut_in_half, layout_flipped], ids=lambda harm: harm.__name__)
def test_what_does_not_fit_is_refused_before_anybody_reads_it(
    good: Path, tmp_path: Path, harm: object
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(good, folder)
    harm(folder)  # type: ignore[operator]
    server = RunningServer(workers=2, data=folder)
    server.launch()
    try:
        assert server.process is not None
        assert server.process.wait(GUARD_SECONDS) == 1
        log = server.log()
        (line,) = [line for line in log.splitlines() if line.startswith("svcdns: ")]
        assert f"{WAY_OUT} {folder} --force" in line and "can't be read" in line
        assert "SIGBUS" not in log and "Traceback" not in log and "starting it again" not in log, log
    finally:
        server.close()


def flipped(data: Path, seed: int, count: int = 400) -> None:
    """Change some octets behind the meta pages."""
    chance = random.Random(seed)
    octets = bytearray(data.read_bytes())
    for _ in range(count):
        octets[chance.randrange(2 * 4096, len(octets))] ^= 1 << chance.randrange(8)
    data.write_bytes(octets)


@pytest.mark.parametrize("seed", range(6))
def test_flipped_octets_end_in_one_line_not_in_a_loop(good: Path, tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "data"
    shutil.copytree(good, folder)
    flipped(folder / "data.mdb", seed)
    server = RunningServer(workers=1, data=folder)
    server.launch()
    try:
        assert server.process is not None
        wait_for(lambda: server.process.poll() is not None or "restore FILE" in server.log(), "a line")  # type: ignore[union-attr]
        if server.process.poll() is not None or "svcdns: " in server.log():
            assert server.process.wait(GUARD_SECONDS) == 1
        else:
            _goes_on_without_the_writer(server)
        assert server.log().count("restore FILE") == 1, server.log()
    finally:
        server.close()


def _goes_on_without_the_writer(server: RunningServer) -> None:
    restarts = server.counters().get(WRITER, "restarts")
    assert server.get("/livez").text == "ok"
    ready = server.get("/readyz")
    assert ready.status == 503 and "damaged" in ready.text
    refused = server.get(SERVICES)
    assert refused.status == 503 and "restore" in refused.json["message"]
    assert server.ask(fqdn("web-1")) is not None
    assert server.counters().get(WRITER, "restarts") == restarts <= 3


def test_a_row_that_is_no_text_ends_in_one_line_and_dns_goes_on(good: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(good, folder)
    store = open_store(folder, "writer")
    with store.write() as txn:
        txn.put(b"Namespace\0\0default", b"\x8a\xff", db=store.tables.objects)
    store.close()
    server = RunningServer(workers=1, data=folder)
    server.launch()
    try:
        wait_for(lambda: "restore FILE" in server.log(), "the line")
        wait_for(lambda: server.get("/readyz").status == 503, "the API that says so")
        _goes_on_without_the_writer(server)
        assert server.answers(fqdn("web-1"))
        assert server.log().count("restore FILE") == 1 and "Traceback" not in server.log()
        assert server.stop() == 0
    finally:
        server.close()
