"""Two hosts with a replica each, a third with a vote, an address that moves: examples/replicas as it stands.

Each host is a network namespace, and podman-compose runs there: a container with the network of its host
has that one.
"""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from container.page import put
from container.replica_hosts import ADDRESSES, DEVICE, EXAMPLE, make_certificates, three_hosts
from container.running_container import COMMAND_SECONDS, Podman
from toolbox import hosts
from toolbox.waiting import GUARD_SECONDS, wait_for

pytestmark = pytest.mark.timeout(900)

MOVING = "10.0.0.53"


@dataclass
class ComposedHost:
    """A host with what one puts on it, and podman-compose there."""

    podman: Podman
    host: hosts.Host
    folder: Path
    address: str
    project: str = field(default_factory=lambda: f"svcdns-test-{uuid.uuid4().hex[:12]}")

    def there(self, *words: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in the network of the host, and in the files of this machine."""
        return subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.host.name}", *words],
            env=environ or os.environ,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            stdin=subprocess.DEVNULL,
        )

    def compose(self, *words: str) -> None:
        """Run podman-compose for the host's file."""
        file = str(self.folder / "compose.yaml")
        command = [sys.executable, "-m", "podman_compose", "--file", file, "--project-name", self.project]
        done = self.there(*command, *words, environ=self.podman.environ)
        assert done.returncode == 0, done.stdout + done.stderr

    def container(self, service: str) -> str:
        """Return the name of the container of a service."""
        return f"{self.project}_{service}_1"

    def svcdns(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of svcdns in its container (podman exec takes the network that it is called in)."""
        command = ["podman", "exec", self.container("svcdns"), "svcdns"]
        return self.there(*command, *words, environ=self.podman.environ)

    def answer(self, name: str, at: str) -> str:
        """Return what dig says on this host of a Service, "" where nobody answers."""
        question = f"{name}.default.svc.cluster.local"
        done = self.there("dig", "+short", "+time=1", "+tries=1", f"@{at}", question)
        return done.stdout.strip() if done.returncode == 0 else ""

    def has(self, address: str) -> bool:
        """Whether one of its interfaces has an address."""
        return f" {address}/" in self.there("ip", "-4", "address").stdout

    def lose(self) -> None:
        """Kill all that runs there, as a host that loses its power does.

        What podman does behind the end of a container is left to end: cut in the middle, without a boot after
        it as a power cut has, podman takes a container whose files it has unmounted for one that has them.
        """
        self.podman.run("stop", "--time", "0", *(self.container(service) for service in ("svcdns", "etcd")))
        for pid, program in self.programs().items():
            if program == "keepalived":
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.programs(), "all that runs there to have ended")

    def programs(self) -> dict[int, str]:
        """Return what runs there, by pid."""
        found = {}
        for pid in map(int, self.there("ip", "netns", "pids", self.host.name).stdout.split()):
            with suppress(OSError):  # it ended meanwhile
                found[pid] = Path(f"/proc/{pid}/comm").read_text().strip()
        return found


@pytest.fixture(scope="module")
def etcd_image(
    podman: Podman, base: str, need: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Name of an image with this machine's etcd."""
    folder = tmp_path_factory.mktemp("etcd")
    (folder / "etcd").write_bytes(Path(need("etcd")).read_bytes())
    (folder / "Dockerfile").write_text(
        'ARG BASE\nFROM ${BASE}\nCOPY --chmod=755 etcd /bin/\nENTRYPOINT ["etcd"]\n'
    )
    name = podman.fresh_name("image", "rm", "--force")
    command = ("build", "--pull=never", "--build-arg", f"BASE={base}", "--tag", name, str(folder))
    podman.run(*command, seconds=2 * COMMAND_SECONDS)
    return name


@pytest.fixture
def site(
    podman: Podman, image: str, etcd_image: str, need: Callable[..., str], tmp_path: Path
) -> Iterator[list[ComposedHost]]:
    """Give the three hosts, set up as docs/replicas.md says; nothing runs yet."""
    need(module="podman_compose")
    for program in ("keepalived", "openssl", "dig", "nsenter"):
        need(program)
    if refused := hosts.why_not():
        pytest.skip(refused)
    make_certificates(tmp_path)
    with ExitStack() as stack:
        made: list[ComposedHost] = []
        for host, address in zip(three_hosts(stack), ADDRESSES, strict=True):
            made.append(ComposedHost(podman, host, tmp_path / f"host-{address}", address))
            _set_up(made[-1], image, etcd_image, tmp_path / address)
            stack.callback(made[-1].compose, "down", "--volumes", "--timeout", "1")
        yield made


def _set_up(on: ComposedHost, image: str, etcd_image: str, certificates: Path) -> None:
    """Put on a host what belongs there."""
    on.folder.mkdir()
    certificates.rename(on.folder / "tls")
    os.chown(on.folder / "tls" / "svcdns.key", 10053, 10053)
    (on.folder / "svcdns.toml").write_text((EXAMPLE / "svcdns.toml").read_text())
    (on.folder / "etcd.env").write_text(put((EXAMPLE / "etcd.env").read_text(), {"HERE": on.address}))
    values = {"    build: etcd\n": "", "localhost/etcd:latest": etcd_image, "localhost/svcdns:latest": image}
    (on.folder / "compose.yaml").write_text(put((EXAMPLE / "compose.yaml").read_text(), values))


def keep_address(on: ComposedHost, other: ComposedHost, stack: ExitStack) -> None:
    """Run keepalived on a host."""
    values = {"HERE": on.address, "OTHER": other.address, "DEVICE": DEVICE}
    file = on.folder / "keepalived.conf"
    file.write_text(put((EXAMPLE / "keepalived.conf").read_text(), values))
    names = [f"--{which}pid={on.folder / which}.pid" for which in ("", "vrrp_", "checkers_")]
    command = on.host.command(
        "keepalived", "--dont-fork", "--log-console", "--vrrp", f"--use-file={file}", *names
    )
    with (on.folder / "keepalived.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    stack.callback(process.wait, GUARD_SECONDS)
    stack.callback(process.terminate)


def test_the_loss_of_a_host_costs_no_name_and_no_write(site: list[ComposedHost]) -> None:
    first, second, third = site
    third.compose("up", "--detach", "etcd")
    for on in (first, second):
        on.compose("up", "--detach")
    with ExitStack() as stack:
        for on, other in ((first, second), (second, first)):
            wait_for(lambda on=on: on.svcdns("status").returncode == 0, f"the replica of {on.address}")
            keep_address(on, other, stack)
        assert first.svcdns("add", "cache", "10.1.0.5").returncode == 0
        wait_for(lambda: second.answer("cache", second.address) == "10.1.0.5", "the other replica to show it")
        wait_for(lambda: third.answer("cache", MOVING) == "10.1.0.5", "the address that moves to answer")
        holder, other = (first, second) if first.has(MOVING) else (second, first)
        holder.lose()
        wait_for(lambda: other.has(MOVING), "the address to have moved")
        wait_for(lambda: third.answer("cache", MOVING) == "10.1.0.5", "others to find it there")
        wait_for(lambda: other.svcdns("add", "queue", "10.1.0.6").returncode == 0, "a write without it")
        wait_for(lambda: third.answer("queue", MOVING) == "10.1.0.6", "what was written")
        holder.compose("up", "--detach")
        wait_for(lambda: holder.answer("queue", holder.address) == "10.1.0.6", "the host to have caught up")
