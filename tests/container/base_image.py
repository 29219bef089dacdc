"""What the image is built on and with in a test, where no registry of images is at hand.

The base image is a small Debian with Python: its root file system is made once by mmdebstrap and
kept in a cache folder (SVCDNS_TEST_CACHE, else ~/.cache/svcdns-tests).  SVCDNS_TEST_BASE names an
image to build on instead, such as the one that the Dockerfile names.

pip in the build gets what pip on this machine is told about the network: its indexes, proxies and
certificates are mounted while building and stay out of the image.
"""

import ast
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from container.running_container import Podman

_SUITE = "bookworm"
PYTHON = ("python3", "python3-venv", "python3-dev", "gcc", "libc6-dev", "ca-certificates", "libcap2-bin")
"""What the Dockerfile needs of its base, the compiler of its first stage among it."""
WHOLE_SYSTEM = (
    *("python3", "iproute2", "dbus", "systemd", "systemd-sysv", "systemd-resolved"),
    *("network-manager", "dnsmasq-base"),
    *("etcd-server", "adduser"),
)
"""What makes a machine, with the resolvers that machines have, and what docs/replicas.md builds on."""
_RECIPE = (
    "--variant=minbase",
    "--dpkgopt=force-unsafe-io",  # half the time: what a crash would lose is made anew
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
)
_BUILD_SECONDS = 600.0

_PIP_NETWORK = {
    "cert",
    "client-cert",
    "default-timeout",
    "extra-index-url",
    "find-links",
    "index-url",
    "no-index",
    "proxy",
    "retries",
    "timeout",
    "trusted-host",
}
"""Options of pip that say how to get at packages."""

_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name this machine's certificates, as pip and its libraries read them."""


class NotMade(Exception):
    """The base image can't be made on this machine; the text says why."""


def base_image(podman: Podman, mmdebstrap: str, packages: Sequence[str] = PYTHON) -> str:
    """Return the name of an image of Debian with some packages, made and imported where it is not there yet.

    Raises NotMade.
    """
    recipe = (*_RECIPE, f"--include={','.join(packages)}", _SUITE)
    digest = hashlib.sha256(" ".join(recipe).encode()).hexdigest()[:12]
    name = f"localhost/svcdns-test-base:{digest}"
    if podman.attempt("image", "exists", name).returncode != 0:
        podman.run("import", str(_root_file_system(mmdebstrap, recipe, digest)), name, seconds=_BUILD_SECONDS)
    return name


def _root_file_system(mmdebstrap: str, recipe: Sequence[str], digest: str) -> Path:
    folder = _cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"base-{_SUITE}-{digest}.tar"
    if not kept.exists():
        fresh = folder / f"{kept.stem}.{os.getpid()}.tar"
        try:
            done = subprocess.run(
                [mmdebstrap, *recipe, str(fresh)],
                capture_output=True,
                text=True,
                timeout=_BUILD_SECONDS,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            if done.returncode != 0:
                raise NotMade(f"mmdebstrap failed:\n{done.stderr[-2000:]}")
            fresh.replace(kept)  # whole or not at all, also for another run beside this one
        finally:
            fresh.unlink(missing_ok=True)
    return kept


def _cache_folder() -> Path:
    named = os.environ.get("SVCDNS_TEST_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(home) / "svcdns-tests"


def pip_mounts(folder: Path) -> list[str]:
    """Return the mounts (HOST:CONTAINER:ro) with which pip in a build gets at packages as pip does here.

    `folder` is where pip's configuration is written.
    """
    options = dict(_pip_network_options())
    for variable in _CERTIFICATES:
        if variable in os.environ:
            options.setdefault("cert", os.environ[variable])
    file = folder / "pip.conf"
    lines = [f"{key} = {' '.join(value.split())}" for key, value in options.items()]
    file.write_text("\n".join(["[global]", *lines, ""]))
    words = [word for value in options.values() for word in value.split()]
    there = dict.fromkeys(word for word in words if word.startswith("/") and Path(word).exists())
    return [f"{file}:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in there)]


def _pip_network_options() -> Iterator[tuple[str, str]]:
    """Yield what `pip config list` tells of the network, lines such as global.timeout='60'; the last wins."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    found = re.findall(r"^(global|:env:)\.([a-z-]+)=(.*)$", listed.stdout, re.MULTILINE)
    for _, key, value in sorted(found, key=lambda option: option[0] == ":env:"):
        if key in _PIP_NETWORK:
            yield key, str(ast.literal_eval(value))
