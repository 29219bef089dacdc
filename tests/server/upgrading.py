"""What the tests of upgrades share: a server of stand-ins, its upgrade by command, and who answers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from toolbox.running_server import SOURCE, RunningServer
from toolbox.waiting import GUARD_SECONDS

FAKE = (sys.executable, str(Path(__file__).with_name("fake_server.py")))
UPGRADE = (sys.executable, "-m", "svcdns", "upgrade")


def fake(**how: object) -> RunningServer:
    return RunningServer(command=FAKE, **how)  # type: ignore[arg-type]


def command(folder: Path, name: str = "upgrade") -> tuple[int, str, str]:
    """Run `svcdns upgrade`, or what does the same; return its exit code, stdout and stderr."""
    environ = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [*UPGRADE[:-1], name, "--data", str(folder)],
        capture_output=True,
        text=True,
        env=environ,
        timeout=3 * GUARD_SECONDS,
    )
    return done.returncode, done.stdout, done.stderr


def upgraded(server: RunningServer) -> None:
    code, out, err = command(server.data)
    assert (code, err) == (0, ""), (code, out, err, server.log())
    assert out.splitlines()[-1].startswith("upgraded to svcdns ")


def refused(server: RunningServer) -> str:
    """Return the last line of an upgrade that fails."""
    code, out, err = command(server.data)
    assert code == 1, (code, out, err)
    assert err.startswith("svcdns: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err + server.log()
    return err.removeprefix("svcdns: ").rstrip("\n")


def who(server: RunningServer, where: tuple[str, int] | None = None) -> str:
    """Ask from a new port; return who answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(GUARD_SECONDS)
        one.sendto(b"who", where or server.dns)
        return one.recv(512).decode()


def pids(server: RunningServer) -> set[int]:
    return {server.writer_pid, *server.worker_pids}


def lives(pid: int) -> bool:
    """Return whether a process runs; of one that has ended something may be left until its parent looks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descriptors(server: RunningServer) -> set[str]:
    assert server.process is not None
    found = set()
    for name in os.listdir(f"/proc/{server.process.pid}/fd"):
        try:
            found.add(os.readlink(f"/proc/{server.process.pid}/fd/{name}"))
        except FileNotFoundError:
            continue
    return found


def reconfigure(server: RunningServer, before: str, after: str) -> None:
    file = server.folder / "svcdns.toml"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def configured(dns: str = '"127.0.0.1:0"', workers: int = 2, rest: str = "") -> str:
    """Return a configuration that flags do not override."""
    return (
        f'{rest}\n[dns]\nlisten = [{dns}]\nworkers = {workers}\n[api]\nlisten = "127.0.0.1:0"\n'
        "[forward]\nupstreams = []\n"
    )


class Configured(RunningServer):
    """A server whose configuration is all in its file, so that an upgrade can find it changed."""

    def __init__(self, config: str) -> None:
        super().__init__(command=FAKE, config=config)
        self._command = [
            *FAKE,
            "serve",
            "--config",
            str(self.folder / "svcdns.toml"),
            "--data",
            str(self.data),
        ]
