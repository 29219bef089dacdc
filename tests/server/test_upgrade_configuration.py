"""An upgrade in place with another configuration, other code, or mistakes in either."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import pytest
from server.upgrading import (
    FAKE,
    Configured,
    command,
    configured,
    pids,
    reconfigure,
    refused,
    upgraded,
    who,
)
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for


def test_mistakes_in_the_configuration_leave_all_as_it_was() -> None:
    with Configured(configured()) as server:
        before = pids(server)
        reconfigure(server, "workers = 2", "workers = true")
        assert "dns.workers" in refused(server)
        assert pids(server) == before
        reconfigure(server, "workers = true", "workers = 2")
        upgraded(server)


def test_a_configuration_that_is_gone_leaves_all_as_it_was() -> None:
    with Configured(configured()) as server:
        before = pids(server)
        (server.folder / "svcdns.toml").unlink()
        assert "svcdns.toml" in refused(server)
        assert pids(server) == before


def test_a_manifest_with_a_mistake_leaves_all_as_it_was_only_where_that_is_asked_for(tmp_path: Path) -> None:
    strict = "strict_manifests = true"
    with Configured(configured(rest=f'manifests = ["{tmp_path}"]\n{strict}')) as server:
        (tmp_path / "wrong.yaml").write_text("kind: Service\n")
        before = pids(server)
        assert "wrong.yaml" in refused(server)
        assert pids(server) == before
        reconfigure(server, strict, "")
        upgraded(server)


@pytest.mark.parametrize("workers", [1, 3, 5])
def test_another_number_of_workers(workers: int) -> None:
    with Configured(configured()) as server:
        reconfigure(server, "workers = 2", f"workers = {workers}")
        upgraded(server)
        assert len(server.worker_pids) == workers
        met = {who(server).split()[0] for _ in range(200)}
        assert met <= {f"worker-{number}" for number in range(workers)}
        assert workers == 1 or len(met) > 1
        reconfigure(server, f"workers = {workers}", "workers = 2")
        upgraded(server)
        assert who(server).startswith("worker-")


def test_listeners_come_and_go() -> None:
    with Configured(configured()) as server:
        first = server.dns
        reconfigure(server, '["127.0.0.1:0"]', '["127.0.0.1:0", "127.0.0.2:0"]')
        upgraded(server)
        assert server.dns == first
        second = server.dns_addresses[1]
        assert who(server, second).startswith("worker-")
        socket.create_connection(second, timeout=GUARD_SECONDS).close()
        reconfigure(server, '["127.0.0.1:0", "127.0.0.2:0"]', f'["{second[0]}:{second[1]}"]')
        upgraded(server)
        assert server.dns_addresses == [second]
        assert who(server).startswith("worker-")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(first, timeout=GUARD_SECONDS)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(first)


def test_a_listener_that_cannot_be_had_leaves_all_as_it_was() -> None:
    with Configured(configured()) as server, socket.create_server(("127.0.0.3", 0)) as taken:
        before = pids(server)
        place = f"127.0.0.3:{taken.getsockname()[1]}"
        reconfigure(server, '["127.0.0.1:0"]', f'["127.0.0.1:0", "{place}"]')
        line = refused(server)
        assert f"{place} (DNS, TCP) is in use by " in line
        assert line.endswith("or restart svcdns instead of upgrading it")
        assert pids(server) == before
        assert who(server).startswith("worker-")


def test_another_data_folder_takes_a_restart(tmp_path: Path) -> None:
    with Configured(configured()) as server:
        server._command[-2:] = []
        assert server.stop() == 0
        (server.folder / "svcdns.toml").write_text(f'data = "{server.data}"\n' + configured())
        server.start()
        reconfigure(server, f'data = "{server.data}"', f'data = "{tmp_path}"')
        assert refused(server).endswith("which takes a restart instead of an upgrade")


def test_a_script_is_run_as_it_is_now(tmp_path: Path) -> None:
    """So a new version may come with another interpreter: it stands in the first line of the script."""
    script = tmp_path / "svcdns"

    def write(*more: str) -> None:
        lines = (
            f"#!{sys.executable}",
            "import runpy, sys",
            *more,
            f"runpy.run_path({FAKE[1]!r}, run_name='__main__')",
        )
        script.write_text("\n".join(lines))
        script.chmod(0o755)

    write()
    with RunningServer(command=[str(script)]) as server:
        write("print('the new script', file=sys.stderr, flush=True)")
        upgraded(server)
        assert server.log().count("the new script") >= 1
        before = pids(server)
        script.chmod(0o644)
        script.write_text("raise SystemExit('broken')\n")
        assert refused(server)
        assert pids(server) == before
        script.unlink()
        assert refused(server)
        assert pids(server) == before


def test_reload_is_the_same_by_another_name() -> None:
    with Configured(configured(workers=1)) as server:
        reconfigure(server, "workers = 1", "workers = 2")
        code, _, err = command(server.data, "reload")
        assert (code, err) == (0, "")
        assert len(server.worker_pids) == 2


def hang_up(server: RunningServer) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)


def test_a_hangup_takes_what_has_changed_and_names_it() -> None:
    with Configured(configured(workers=1)) as server:
        assert server.process is not None
        process = server.process.pid
        reconfigure(server, "workers = 1", "workers = 2\nttl = 30")
        hang_up(server)
        wait_for(lambda: len(server.worker_pids) == 2, "the second worker")
        wait_for(lambda: "svcdns upgraded" in server.log(), "the last line")
        assert "changed options are taken: dns.workers, dns.ttl" in server.log()
        assert server.process.pid == process and server.process.poll() is None


def test_a_hangup_without_a_change_replaces_nothing() -> None:
    with Configured(configured()) as server:
        before = pids(server)
        hang_up(server)
        wait_for(lambda: "the configuration has not changed" in server.log(), "the log line")
        assert pids(server) == before
        upgraded(server)


def test_mistakes_at_a_hangup_are_all_named_and_change_nothing() -> None:
    with Configured(configured()) as server:
        before = pids(server)
        reconfigure(server, "workers = 2", "workers = true\nttl = 99999\nlissten = 3")
        hang_up(server)
        named = ("dns.workers", "dns.ttl", "lissten")
        wait_for(lambda: all(one in server.log() for one in named), "every mistake in the log")
        assert server.log().count("the configuration stays as it was: ") == len(named)
        assert pids(server) == before
        reconfigure(server, "workers = true\nttl = 99999\nlissten = 3", "workers = 3")
        hang_up(server)
        wait_for(lambda: len(server.worker_pids) == 3, "the third worker")


def test_another_user_at_a_hangup_is_named_and_changes_nothing() -> None:
    with Configured(configured()) as server:
        before = pids(server)
        reconfigure(server, "[dns]", 'user = "root"\n[dns]')
        hang_up(server)
        wait_for(lambda: "user: none becomes root, which takes a restart" in server.log(), "the log line")
        assert pids(server) == before


def test_a_hangup_during_a_change_is_not_lost() -> None:
    with Configured(configured(workers=1)) as server:
        reconfigure(server, "workers = 1", "workers = 2")
        hang_up(server)
        wait_for(lambda: "changed options are taken" in server.log(), "the first change")
        reconfigure(server, "workers = 2", "workers = 3")
        hang_up(server)
        wait_for(lambda: len(server.worker_pids) == 3, "the third worker")
