"""etcd in a test: one member on loopback, on ports that the kernel chose, with a data folder of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Self

from toolbox.waiting import GUARD_SECONDS, wait_for


class RunningEtcd:
    """A context manager that starts and stops it; what it stores stays from one `start` to the next."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="etcd-test-"))
        self._client, self._peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.endpoints = [self._client]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it, again perhaps, and return when it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("etcd", "--data-dir", str(self._folder / "data"), "--name", "one"),
                    *("--listen-client-urls", self._client, "--advertise-client-urls", self._client),
                    *("--listen-peer-urls", self._peer, "--initial-advertise-peer-urls", self._peer),
                    *("--initial-cluster", f"one={self._peer}"),
                ],
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, "etcd to answer")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            with urllib.request.urlopen(f"{self._client}/health", timeout=GUARD_SECONDS) as answer:
                return b"true" in answer.read()
        except OSError:
            return False

    def freeze(self) -> None:
        """Have it stand still."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(GUARD_SECONDS)

    def ctl(self, *arguments: str) -> str:
        """Run etcdctl."""
        command = ["etcdctl", f"--endpoints={self._client}", *arguments]
        env = {**os.environ, "ETCDCTL_API": "3"}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
