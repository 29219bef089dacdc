"""Fixtures of the tests of the image: podman, and the image built once for all of them."""

import os
from collections.abc import Callable, Iterator

import pytest
from container import resolving
from container.base_image import WHOLE_SYSTEM, NotMade, base_image, pip_mounts
from container.running_container import Podman, RunningContainer, Serve
from toolbox.running_server import SOURCE

_BUILD_SECONDS = 600.0


@pytest.fixture(scope="session")
def podman(need: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    program = Podman(need("podman"), tmp_path_factory.mktemp("podman"))
    state = program.attempt("info")
    if state.returncode != 0:
        _is_missing(f"podman does not work here: {state.stderr}")
    with program.cleaning():
        yield program


@pytest.fixture(scope="session")
def base(podman: Podman, need: Callable[..., str]) -> str:
    """Name of the image to build on."""
    if named := os.environ.get("SVCDNS_TEST_BASE"):
        return named
    try:
        return base_image(podman, need("mmdebstrap"))
    except NotMade as reason:
        _is_missing(str(reason))
        raise


@pytest.fixture(scope="session")
def whole_system(podman: Podman, need: Callable[..., str]) -> str:
    """Name of an image with systemd as its first process, resolved and NetworkManager."""
    if os.geteuid():
        _is_missing("it takes root to run systemd in a container")
    try:
        return base_image(podman, need("mmdebstrap"), WHOLE_SYSTEM)
    except NotMade as reason:
        _is_missing(str(reason))
        raise


@pytest.fixture(scope="session")
def image(podman: Podman, base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of the image, built from the Dockerfile as it stands."""
    mounts = pip_mounts(tmp_path_factory.mktemp("pip"))
    name = podman.fresh_name("image", "rm", "--force")
    podman.run(
        *("build", "--format", "docker", "--pull=never", "--layers=false", "--network", "host"),
        *("--build-arg", f"BASE={base}", "--tag", name),
        *(f"--volume={mount}" for mount in mounts),
        str(SOURCE),
        seconds=_BUILD_SECONDS,
    )
    return name


@pytest.fixture
def serve(podman: Podman, image: str) -> Iterator[Serve]:
    def start(*options: str, arguments: tuple[str, ...] = ()) -> RunningContainer:
        return RunningContainer(podman, image, *options, arguments=arguments)

    with podman.cleaning():
        yield start


@pytest.fixture(scope="module")
def network(podman: Podman) -> Iterator[resolving.Network]:
    """A network for containers that ask svcdns."""
    with podman.cleaning():
        yield resolving.network(podman)


@pytest.fixture(scope="module")
def upstream(need: Callable[..., str], network: resolving.Network) -> Iterator[resolving.Upstream]:
    """Who knows the names outside, for svcdns in that network or on this machine."""
    need("unbound")
    if os.geteuid():
        _is_missing("it takes root to answer in a network of containers")
    with resolving.Upstream(network) as running:
        yield running


def _is_missing(text: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)
