"""Containers in a test: podman's command line, and a container of the image that can be asked.

Rules: what is made through a `Podman` goes when its `cleaning` ends; nothing waits for a fixed time;
ports of the host are chosen by podman or by the kernel.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dns import query as dns_query
from dns.message import Message, make_query
from toolbox.waiting import GUARD_SECONDS, wait_for

_RUNC = """\
# crun, podman's first choice, refuses machines with hybrid cgroups, and podman's own limits may be
# higher than those of the machine.
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
runtime = "runc"
"""

COMMAND_SECONDS = 3 * GUARD_SECONDS
"""Against hanging only: a command of podman's copies files, and waits for other commands to end."""
_READY = re.compile(r"svcdns ready: dns=(\S+) api=(\S+)")


class Podman:
    """podman with what was made through it."""

    def __init__(self, program: str, folder: Path) -> None:
        """`folder` is for its configuration; a CONTAINERS_CONF of the user's wins over ours."""
        self._program = program
        self.environ = dict(os.environ)
        """What it is started with, and whatever starts it for us has to be."""
        runc = shutil.which("runc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if runc and "CONTAINERS_CONF" not in os.environ:
            file = folder / "containers.conf"
            file.write_text(_RUNC)
            self.environ["CONTAINERS_CONF"] = str(file)
        self._made: list[tuple[str, ...]] = []

    def run(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> str:
        """Return what a command says on stdout; raises AssertionError when it fails."""
        done = self.attempt(*arguments, seconds=seconds)
        said = f"{done.stdout}{done.stderr}"
        assert done.returncode == 0, f"podman {' '.join(arguments)} ended with {done.returncode}:\n{said}"
        return done.stdout.strip()

    def attempt(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail."""
        return subprocess.run(
            [self._program, *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def fresh_name(self, *removal: str) -> str:
        """Return a name that nobody has; `removal` is the command that removes what will have it."""
        name = f"svcdns-test-{uuid.uuid4().hex[:12]}"
        self._made.append((*removal, name))
        return name

    def volume(self) -> str:
        """Make a volume; return its name."""
        return self.run("volume", "create", self.fresh_name("volume", "rm", "--force"))

    def network(self) -> str:
        """Make a network whose containers have the resolvers they are told, no other; return its name."""
        name = self.fresh_name("network", "rm", "--force")
        self.run("network", "create", "--disable-dns", name)
        return name

    def free_subnet(self) -> str:
        """Return a subnet (/24) that podman would give to the next network."""
        name = self.fresh_name("network", "rm", "--force")
        self.run("network", "create", "--disable-dns", name)
        subnet: str = json.loads(self.run("network", "inspect", name))[0]["subnets"][0]["subnet"]
        self.run("network", "rm", name)
        return subnet

    @contextlib.contextmanager
    def cleaning(self) -> Iterator[None]:
        """Remove what was made in the body at its end, the last first."""
        before = len(self._made)
        try:
            yield
        finally:
            while len(self._made) > before:
                self.attempt(*self._made.pop())


class RunningContainer:
    """`svcdns serve` in a container of the image, ready to be asked."""

    def __init__(self, podman: Podman, image: str, *options: str, arguments: Sequence[str] = ()) -> None:
        """`options` are those of `podman run`, `arguments` those of the image."""
        self._podman = podman
        self.name = podman.fresh_name("rm", "--force", "--volumes", "--time", "10")
        podman.run("run", "--detach", "--name", self.name, *options, image, *arguments)
        wait_for(self._is_ready, f"container {self.name} to be ready")

    def _is_ready(self) -> bool:
        state = self.inspect()["State"]
        assert state["Running"], f"the container ended with {state['ExitCode']}:\n{self.log()}"
        return _READY.search(self.log()) is not None

    def log(self) -> str:
        """Return all that it has logged."""
        done = self._podman.attempt("logs", self.name)
        return done.stdout + done.stderr

    def inspect(self) -> dict[str, Any]:
        """Return what podman knows of it."""
        found: dict[str, Any] = json.loads(self._podman.run("container", "inspect", self.name))[0]
        return found

    def execute(self, *command: str) -> str:
        """Return what a command in the container says; raises AssertionError when it fails."""
        return self._podman.run("exec", self.name, *command)

    def passes_check(self) -> bool:
        """Run the health check once, as a timer of systemd's does where there is systemd."""
        return self._podman.attempt("healthcheck", "run", self.name).returncode == 0

    def is_healthy(self) -> bool:
        """Run the health check once; return whether podman calls the container healthy then."""
        self.passes_check()
        status: str = self.inspect()["State"]["Health"]["Status"]
        return status == "healthy"

    def python(self, code: str, *arguments: str) -> Any:
        """Return what Python code in the container prints, which is to be JSON."""
        return json.loads(self.execute("python3", "-c", code, *arguments))

    def said_addresses(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Return where it says that it answers, (host, port) of DNS and of the API."""
        found = _READY.search(self.log())
        assert found is not None
        return _host_port(found[1]), _host_port(found[2])

    def published(self, port: str) -> tuple[str, int]:
        """Return (host, port) of this machine for a port of the container such as 53/udp."""
        return _host_port(self._podman.run("port", self.name, port))

    def ask(self, name: str, rrtype: str = "A", *, tcp: bool = False) -> Message:
        """Return the reply to a question asked on this machine, through the published port."""
        host, port = self.published("53/tcp" if tcp else "53/udp")
        return ask(host, port, name, rrtype, tcp=tcp)

    def stop(self) -> int:
        """End it as `podman stop` does, SIGKILL after ten seconds; return its exit code."""
        self._podman.run("stop", "--time", "10", self.name)
        code: int = self.inspect()["State"]["ExitCode"]
        return code


Serve = Callable[..., RunningContainer]
"""Starts a container of the image: serve("--publish", "53", arguments=("serve",))."""


def ask(host: str, port: int, name: str, rrtype: str = "A", *, tcp: bool = False) -> Message:
    """Return the reply to one question."""
    send = dns_query.tcp if tcp else dns_query.udp
    return send(make_query(name, rrtype), host, port=port, timeout=GUARD_SECONDS)


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
