"""What keeps a server from starting: one line on stderr that says what to do, exit code 1, and the server
that is in its way goes on undisturbed.
"""

import lmdb
import pytest
from toolbox.calls import Calls, fqdn
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS
from toolbox.witness import Witness, address, there

from svcdns.store.environment import MAP_OCTETS, open_store


def refused(server: RunningServer) -> str:
    """Launch a server that must not start; return the line that says why."""
    before = len(server.log())
    server.launch()
    assert server.process is not None
    assert server.process.wait(GUARD_SECONDS) == 1
    log = server.log()[before:]
    assert "Traceback" not in log
    (line,) = [line for line in log.splitlines() if line.startswith("svcdns: ")]
    return line


@pytest.mark.parametrize("listener", ["dns", "api"])
def test_a_port_of_another_server(server: RunningServer, listener: str) -> None:
    """Both servers would share it by SO_REUSEPORT if nobody looked."""
    taken = f"{server.dns[0]}:{server.dns[1]}" if listener == "dns" else server.api.removeprefix("http://")
    arguments = ("--api", taken) if listener == "api" else ()
    second = RunningServer(dns=(taken,) if listener == "dns" else ("127.0.0.1:0",), arguments=arguments)
    line = refused(second)
    second.close()
    assert taken in line
    assert f"--{listener}" in line
    assert server.ask_every_worker("dns-version.cluster.local", "TXT")


def test_a_second_server_on_the_same_folder(server: RunningServer) -> None:
    calls = Calls(server.api)
    expected = there(address(calls.create_service("first")["spec"]["clusterIP"]))
    second = RunningServer(data=server.data)
    line = refused(second)
    second.close()
    assert str(server.data) in line
    assert "--data" in line
    with Witness(server.dns, 2) as witness:
        assert set(witness.ask(fqdn("first")).values()) == {expected}
    assert calls.create_service("second"), "it still writes"


def test_data_of_a_newer_layout_are_left_alone() -> None:
    with RunningServer(workers=1) as own:
        Calls(own.api).create_service("web")
        assert own.stop() == 0
        with lmdb.open(str(own.data), max_dbs=64, map_size=MAP_OCTETS) as env:
            meta = env.open_db(b"meta", create=False)
            with env.begin(write=True) as txn:
                layout = txn.get(b"layout", db=meta)
                txn.put(b"layout", (77).to_bytes(4), db=meta)
        line = refused(own)
        assert "newer svcdns" in line
        store = open_store(own.data, "writer")
        with store.write() as txn:
            assert txn.get(b"layout", db=store.tables.meta) == (77).to_bytes(4)
            txn.put(b"layout", bytes(layout or b""), db=store.tables.meta)
        store.close()
        own.start()
        assert own.answers(fqdn("web"))
