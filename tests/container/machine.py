"""A machine in a container: systemd is its first process, and svcdns is where its unit expects it."""

from collections.abc import Sequence
from pathlib import Path

from container.resolving import Inside
from container.running_container import Podman
from toolbox.running_server import SOURCE
from toolbox.waiting import wait_for

UNIT = SOURCE / "contrib" / "svcdns.service"
INSTALLED = "/opt/svcdns"
_RESOLVERS = ("systemd-resolved", "NetworkManager", "NetworkManager-wait-online")


class Machine(Inside):
    """One such container, without a resolver of its own; nothing of svcdns runs there yet."""

    def __init__(
        self, podman: Podman, system: str, image: str, folder: Path, *options: str, masked: Sequence[str] = ()
    ) -> None:
        """`image` is the one of svcdns, `folder` for its files, `options` those of `podman run`.

        `masked`: services that don't run either.
        """
        super().__init__(
            podman,
            *("--systemd", "always", "--privileged", *options, system, "/sbin/init"),
            *(f"systemd.mask={one}.service" for one in (*_RESOLVERS, *masked)),
        )
        self.wait_until_up()
        source = podman.run("create", image).strip()
        podman.run("cp", f"{source}:{INSTALLED}", str(folder / "svcdns"))
        podman.run("rm", source)
        podman.run("cp", str(folder / "svcdns"), f"{self.name}:/opt")
        podman.run("cp", str(UNIT), f"{self.name}:/etc/systemd/system/svcdns.service")
        self.sh("systemctl daemon-reload")

    def wait_until_up(self) -> None:
        """Wait until systemd has started all that it is to start."""
        wait_for(self._is_up, "systemd to have started everything")

    def _is_up(self) -> bool:
        done = self._podman.attempt("exec", self.name, "systemctl", "is-system-running")
        return done.stdout.strip() in ("running", "degraded")

    def sh(self, script: str) -> str:
        """Return what a script says; raises AssertionError when it fails."""
        return self.execute("sh", "-ec", script)

    def svcdns(self, *arguments: str) -> str:
        """Return what a command of svcdns says; raises AssertionError when it fails."""
        return self.execute(f"{INSTALLED}/bin/svcdns", *arguments)

    def property(self, name: str) -> str:
        """Return a property of the unit."""
        return self.sh(f"systemctl show --value --property {name} svcdns").strip()
