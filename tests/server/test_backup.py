"""`svcdns backup` and `svcdns restore`: a copy of one moment while the server writes, and the way back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from toolbox.running_server import SOURCE, RunningServer
from toolbox.waiting import wait_for

from svcdns.names.packed import LAYOUT
from svcdns.store.environment import open_file, open_store
from svcdns.store.snapshot import Snapshots
from svcdns.wire.key import key_of

SERVICES = "/api/v1/namespaces/default/services"
ENDPOINTS = "/api/v1/namespaces/default/endpoints"


def svcdns(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(SOURCE), "SVCDNS_FORWARD_UPSTREAMS": ""}
    command = [sys.executable, "-m", "svcdns", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120, **options)  # type: ignore[call-overload,no-any-return]


def refused(*arguments: object, **options: object) -> str:
    """Run a command that must be refused; return its one line."""
    done = svcdns(*arguments, **options)
    assert done.returncode == 1, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("svcdns: ") and not done.stdout
    return line


def service(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"name": "http", "port": 80}]}}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as server:
        for number in range(40):
            assert server.post(SERVICES, service(f"web-{number}")).status == 201
        subsets = [{"addresses": [{"ip": "192.0.2.1"}]}]
        assert server.post(ENDPOINTS, {"metadata": {"name": "web-7"}, "subsets": subsets}).status == 201
        yield server


@pytest.fixture(scope="module")
def backup(running: RunningServer) -> Path:
    file = running.folder / "registry.mdb"
    done = svcdns("backup", file, "--data", running.data)
    assert done.returncode == 0, done
    assert "objects at revision " in done.stdout and str(file) in done.stdout and not done.stderr
    return file


def whole(file: Path) -> set[str]:
    """Return the Services of a backup, each of which has its answers and its address."""
    store = open_file(file)
    try:
        store.check()
        snapshot = Snapshots(store).begin()
        names = set()
        with snapshot.txn as txn, txn.cursor(db=store.tables.objects) as cursor:
            for key, value in cursor:
                kind, namespace, name = bytes(key).decode().split("\0")
                if kind == "Service":
                    names.add(name)
                    assert json.loads(value)["spec"]["clusterIP"]
                    assert snapshot.row(key_of(f"{name}.{namespace}.svc.cluster.local."))
        return names
    finally:
        store.close()


def test_each_copy_is_of_one_moment_though_others_write(running: RunningServer, tmp_path: Path) -> None:
    over = threading.Event()

    def write(writer: int) -> None:
        number = 0
        while not over.is_set():
            assert running.post(SERVICES, service(f"busy-{writer}-{number}")).status == 201
            if number >= 10:
                assert running.delete(f"{SERVICES}/busy-{writer}-{number - 10}").status == 200
            number += 1

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for writer in writers:
        writer.start()
    try:
        for copy in range(4):
            before = running.counters().get(1, "restarts")
            file = tmp_path / f"{copy}.mdb"
            assert svcdns("backup", file, "--data", running.data).returncode == 0
            names = whole(file)
            assert {f"web-{number}" for number in range(40)} <= names
            assert running.counters().get(1, "restarts") == before
    finally:
        over.set()
        for writer in writers:
            writer.join()
    assert "it is ended" not in running.log(), "who makes a backup is no stuck reader"


def test_only_the_owner_may_read_it_and_nothing_else_is_left(backup: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert [file.name for file in backup.parent.iterdir() if ".new" in file.name] == []
    assert os.access(backup, os.R_OK)


def test_a_backup_replaces_the_one_before_it_only_when_it_is_whole(
    running: RunningServer, backup: Path, tmp_path: Path
) -> None:
    file = tmp_path / "daily.mdb"
    shutil.copy(backup, file)
    before, one_before = file.read_bytes(), file.stat().st_ino
    full = svcdns("backup", file, "--data", running.data, preexec_fn=_no_room)
    assert full.returncode == 1 and len(full.stderr.splitlines()) == 1, full
    assert file.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["daily.mdb"]
    assert svcdns("backup", file, "--data", running.data).returncode == 0
    assert file.stat().st_ino != one_before, "another file; what is in it may be the same"


def _no_room() -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("data/copy.mdb", "in the data folder itself"),
        (".", "is a folder"),
        ("none/copy.mdb", "no such file or directory"),
    ],
)
def test_where_no_backup_can_be(running: RunningServer, target: str, words: str) -> None:
    assert words in refused("backup", running.folder / target, "--data", running.data)
    assert (running.data / "data.mdb").exists()


def test_a_folder_without_a_registry(tmp_path: Path) -> None:
    line = refused("backup", tmp_path / "x.mdb", "--data", tmp_path / "none")
    assert "no data in" in line and "--data" in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_not_restored(running: RunningServer, backup: Path) -> None:
    for force in ((), ("--force",)):
        assert "in use by another svcdns" in refused("restore", backup, "--data", running.data, *force)
    assert running.get("/readyz").text == "ok"


def test_what_is_no_backup_changes_nothing(backup: Path, tmp_path: Path) -> None:
    folder, wrong = tmp_path / "data", tmp_path / "wrong.mdb"
    assert svcdns("restore", backup, "--data", folder).returncode == 0
    there = (folder / "data.mdb").read_bytes()
    assert "--force" in refused("restore", backup, "--data", folder)

    def restored() -> str:
        return refused("restore", wrong, "--data", folder, "--force")

    assert "no such file" in restored()
    wrong.write_bytes(b"")
    assert str(wrong) in restored()
    wrong.write_text("not LMDB's" * 10_000)
    assert "is no backup of svcdns" in restored()
    wrong.write_bytes(backup.read_bytes()[:-8192])
    assert "was cut" in restored()
    wrong.unlink()
    with lmdb.open(str(wrong), subdir=False, lock=False) as env, env.begin(write=True) as txn:
        txn.put(b"some", b"thing")
    assert "it lacks the table meta" in restored()
    for octets in (LAYOUT + 1).to_bytes(4), (LAYOUT + 1).to_bytes(8):
        shutil.copy(backup, wrong)
        store = open_file(wrong)
        with store.write() as txn:
            txn.put(b"layout", octets, db=store.tables.meta)
        store.close()
        assert "newer svcdns" in restored()
    shutil.copy(backup, wrong)
    store = open_file(wrong)
    with store.env.begin(write=True) as txn:
        txn.drop(store.tables.objects, delete=False)
    store.close()
    assert "table objects has 0 rows" in restored()
    assert (folder / "data.mdb").read_bytes() == there
    assert sorted(one.name for one in folder.iterdir()) == ["data.mdb", "lock"]


def test_a_restored_registry_goes_on_where_no_client_has_been(backup: Path, tmp_path: Path) -> None:
    with RunningServer(workers=1, data=tmp_path / "data") as server:
        for number in range(60):
            server.post(SERVICES, service(f"lost-{number}"))
        lost = int(server.get(SERVICES).json["metadata"]["resourceVersion"])
        serial = int(server.ask("cluster.local", "SOA").answer[0][0].serial)
        assert server.stop() == 0
        done = svcdns("restore", backup, "--data", server.data, "--force")
        assert done.returncode == 0 and not done.stderr, done
        kept = Path(done.stdout.split()[-1])
        assert kept.parent == server.data and "what was there before is" in done.stdout
        assert stat.S_IMODE((server.data / "data.mdb").stat().st_mode) == 0o600
        server.start()
        found = server.get(SERVICES).json
        names = {item["metadata"]["name"] for item in found["items"]}
        assert {name for name in names if not name.startswith("busy-")} == {f"web-{n}" for n in range(40)}
        assert int(found["metadata"]["resourceVersion"]) > lost
        assert server.answers("web-7.default.svc.cluster.local")
        assert server.get(f"{ENDPOINTS}/web-7").json["subsets"] == [{"addresses": [{"ip": "192.0.2.1"}]}]
        (pointer,) = server.answers("1.2.0.192.in-addr.arpa", "PTR")
        assert pointer == "192-0-2-1.web-7.default.svc.cluster.local.", "mirrored, and so answered"
        assert not server.answers("lost-7.default.svc.cluster.local")
        assert int(server.ask("cluster.local", "SOA").answer[0][0].serial) >= serial
        gone = server.get(f"{SERVICES}?watch=1&timeoutSeconds=1&resourceVersion={lost}")
        assert '"code":410' in gone.text.replace(" ", "")
        assert server.stop() == 0
        store = open_store(server.data, "writer")
        store.check()
        store.close()
        shutil.copy(kept, server.data / "data.mdb")  # and back by hand, the server being down
        (server.data / "lock.mdb").unlink()
        server.start()
        assert server.answers("lost-7.default.svc.cluster.local")


def test_an_interrupted_backup_leaves_nothing(tmp_path: Path) -> None:
    """Killed by a service manager in the middle: the name it writes under is gone, the old file stays."""
    store = open_store(tmp_path / "data", "writer")
    with store.write() as txn:
        txn.put(b"revision", (1).to_bytes(8), db=store.tables.meta)
        for number in range(400_000):
            txn.put(b"%08d" % number, os.urandom(200), db=store.tables.answers_a)
    store.close()
    environ = {**os.environ, "PYTHONPATH": str(SOURCE)}
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-m", "svcdns", "backup", str(out / "x.mdb"), "--data", str(tmp_path / "data")]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE)
    wait_for(lambda: any(out.iterdir()) or process.poll() is not None, "the copy to begin")
    process.send_signal(signal.SIGTERM)
    code = process.wait(60)
    if code:
        assert code == 128 + signal.SIGTERM
        assert list(out.iterdir()) == []


def test_a_cron_job_needs_no_flags_but_the_configuration(running: RunningServer, tmp_path: Path) -> None:
    config = tmp_path / "svcdns.toml"
    config.write_text(f'data = "{running.data}"\n')
    assert svcdns("backup", tmp_path / "x.mdb", "--config", config).returncode == 0
    assert whole(tmp_path / "x.mdb")
