"""Podman's own API as an engine: containers have their names while they run, and compose's replicas too."""

import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from container.running_container import Podman
from container.test_contrib import composed
from toolbox.running_server import SOURCE, RunningServer, svcdns
from toolbox.waiting import GUARD_SECONDS, wait_for

pytestmark = pytest.mark.timeout(900)  # the first test makes the image, and on a new machine its base

EXAMPLE = SOURCE / "examples" / "containers" / "compose.yaml"
PROXY_EXAMPLE = EXAMPLE.with_name("proxy.yaml")
MARK = "svcdns-test"
"""The label by which the containers of one test are known: others run on the same machine."""


@contextmanager
def engine(podman: Podman, folder: Path) -> Iterator[Path]:
    """Run Podman's API; give its socket."""
    socket = folder / "podman.sock"
    service = subprocess.Popen(
        [podman._program, "system", "service", "--time=0", f"unix://{socket}"],
        env=podman.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(socket.exists, "podman's API")
        yield socket
    finally:
        service.terminate()
        service.wait(GUARD_SECONDS)


def address_of(podman: Podman, name: str) -> str:
    networks = json.loads(podman.run("inspect", name))[0]["NetworkSettings"]["Networks"]
    (one,) = networks.values()
    return str(one["IPAddress"])


def test_a_container_has_its_name_while_it_runs_and_is_healthy(
    podman: Podman, base: str, tmp_path: Path
) -> None:
    mark = uuid.uuid4().hex
    with podman.cleaning(), engine(podman, tmp_path) as socket:
        table = f'[[containers]]\nendpoint = "unix://{socket}"\nconstraints = "{MARK}={mark}"\n'
        with RunningServer(workers=1, config=table) as server:
            network = podman.network()

            def start(service: str, *options: str) -> str:
                name = podman.fresh_name("rm", "--force", "--time", "0")
                labels = (f"--label={MARK}={mark}", f"--label=svcdns.io/service={service}")
                podman.run("run", "--detach", "--name", name, *labels, *options, base, "sleep", "1000")
                return name

            def answers(service: str) -> list[str]:
                return server.answers(f"{service}.default.svc.cluster.local")

            plain = start("plain", f"--network={network}", "--expose=5432")
            wait_for(lambda: answers("plain") == [address_of(podman, plain)], "the address")
            (found,) = server.answers("_tcp-5432._tcp.plain.default.svc.cluster.local", "SRV")
            assert found == f"0 100 5432 {plain}.plain.default.svc.cluster.local."

            beside = start("beside", f"--network=container:{plain}")
            wait_for(lambda: answers("beside") == [address_of(podman, plain)], "that of whose network it has")

            flag = tmp_path / "healthy"
            check = (
                f"--volume={tmp_path}:/check:z",
                "--health-cmd=test -e /check/healthy",
                "--health-retries=1",
            )
            checked = start("checked", f"--network={network}", *check)
            flag.touch()
            podman.run("healthcheck", "run", checked)
            wait_for(lambda: answers("checked") == [address_of(podman, checked)], "health")
            flag.unlink()
            podman.attempt("healthcheck", "run", checked)
            wait_for(lambda: answers("checked") == [], "the end of health")

            start("everywhere", "--network=host")
            wait_for(lambda: "NoAddress" in svcdns("containers", "--data", server.data).stdout, "the reason")

            podman.run("rm", "--force", "--time", "0", beside)
            wait_for(lambda: answers("beside") == [], "one to be gone")
            podman.run("pause", plain)
            wait_for(lambda: answers("plain") == [], "it to be paused")
            podman.run("unpause", plain)
            wait_for(lambda: answers("plain") == [address_of(podman, plain)], "it to go on")
            podman.run("kill", plain)
            wait_for(lambda: answers("plain") == [], "it to be gone")


def test_the_compose_file_of_the_readme(podman: Podman, base: str, tmp_path: Path, need: object) -> None:
    need(module="podman_compose")  # type: ignore[operator]
    mark = uuid.uuid4().hex
    (text,) = re.findall(r"```yaml\n(name: shop\n.*?)```", (SOURCE / "README.md").read_text(), re.DOTALL)
    shop = yaml.safe_load(text)
    del shop["name"]  # the project of a test has its own
    shop["services"]["web"] |= {"image": base, "command": "sleep 1000"}
    shop["services"]["web"]["labels"][MARK] = mark
    with podman.cleaning(), engine(podman, tmp_path) as socket:
        table = f'[[containers]]\nendpoint = "unix://{socket}"\nconstraints = "{MARK}={mark}"\n'
        with (
            RunningServer(workers=1, config=table) as server,
            composed(podman, file := tmp_path / "compose.yaml") as (compose, project),
        ):
            file.write_text(yaml.safe_dump(shop))
            compose("up", "--detach", "--scale", "web=2")
            web = f"web.{project}.svc.cluster.local"
            wanted = [f"0 50 80 web-{number}.{web}." for number in (1, 2)]
            wait_for(lambda: sorted(server.answers(f"_http._tcp.{web}", "SRV")) == wanted, "both replicas")
            assert len(server.answers(web)) == 2


def test_the_example_runs_in_the_image_and_members_find_each_other_by_srv(
    podman: Podman, image: str, tmp_path: Path, need: object
) -> None:
    need(module="podman_compose")  # type: ignore[operator]
    subnet = podman.free_subnet()
    text = EXAMPLE.read_text().replace("172.30.54.0/24", subnet)
    text = text.replace("172.30.54.53", subnet.replace(".0/24", ".53")).replace(
        "localhost/svcdns:latest", image
    )
    example = yaml.safe_load(text)
    del example["name"]  # the project of a test has its own
    with podman.cleaning(), engine(podman, tmp_path) as socket:
        file = tmp_path / "compose.yaml"
        with composed(podman, file) as (compose, project):
            text = yaml.safe_dump(example).replace("shop", project)
            file.write_text(text)
            settings = {"ENGINE_FOLDER": str(socket.parent), "ENGINE_SOCKET": socket.name}
            lines = "".join(f"{key}={value}\n" for key, value in settings.items())
            file.with_name(".env").write_text(lines)
            compose("up", "--detach", "--scale", "db=3")

            def found() -> list[str]:
                done = podman.attempt(
                    *("exec", f"{project}_svcdns_1", "svcdns", "query"),
                    *(f"_peer._tcp.db.{project}.svc.cluster.local", "SRV", "--server", f"{address}:53"),
                )
                return sorted(line.split()[-1] for line in done.stdout.splitlines() if "7000" in line)

            address = subnet.replace(".0/24", ".53")
            wanted = [f"db-{number}.db.{project}.svc.cluster.local." for number in (1, 2, 3)]
            wait_for(lambda: found() == wanted, "three members")
            rows = podman.run("exec", f"{project}_svcdns_1", "svcdns", "containers")
            assert rows.count(f"{project}/db-") == 3


def test_behind_a_socket_proxy_svcdns_has_no_socket(
    podman: Podman, image: str, base: str, tmp_path: Path, need: object
) -> None:
    """The example, with a proxy of our own that lets the same GETs through: no registry has the other."""
    need(module="podman_compose")  # type: ignore[operator]
    mark, apart = uuid.uuid4().hex, podman.free_subnet()
    placeholder = podman.network()  # has it until the other one is known
    subnet = podman.free_subnet()
    podman.run("network", "rm", placeholder)
    address, proxy = subnet.replace(".0/24", ".53"), apart.replace(".0/24", ".5")
    text = PROXY_EXAMPLE.read_text().replace("172.30.54.0/24", subnet).replace("172.30.54.53", address)
    example = yaml.safe_load(text.replace("localhost/svcdns:latest", image))
    example["networks"]["engine"]["ipam"] = {"config": [{"subnet": apart}]}
    services = example["services"]
    services["docker-proxy"]["networks"] = {"engine": {"ipv4_address": proxy}}
    services["svcdns"]["extra_hosts"] = [f"docker-proxy:{proxy}"]  # podman has no resolver of its own here
    (engines,) = (json.loads(services["svcdns"]["environment"]["SVCDNS_CONTAINERS"]),)
    engines[0]["constraints"] = f"{MARK}={mark}"
    services["svcdns"]["environment"]["SVCDNS_CONTAINERS"] = json.dumps(engines)
    with podman.cleaning(), engine(podman, tmp_path) as socket:
        script = tmp_path / "proxy.py"
        script.write_text((Path(__file__).parent / "engine_proxy.py").read_text())
        services["docker-proxy"] |= {"image": image, "user": "0", "entrypoint": ["python3", "/proxy.py"]}
        services["docker-proxy"]["volumes"] = [f"{socket}:/var/run/docker.sock", f"{script}:/proxy.py:ro"]
        services["web"] = {"image": base, "command": "sleep 1000", "networks": ["members"]}
        services["web"]["labels"] = {MARK: mark}
        file = tmp_path / "compose.yaml"
        file.write_text(yaml.safe_dump(example))
        with composed(podman, file) as (compose, project):
            compose("up", "--detach")

            def found() -> str:
                words = ("svcdns", "query", f"web.{project}.svc.cluster.local", "--server", f"{address}:53")
                return podman.attempt("exec", f"{project}_svcdns_1", *words).stdout

            networks = json.loads(podman.run("inspect", f"{project}_web_1"))[0]["NetworkSettings"]["Networks"]
            wait_for(lambda: networks[f"{project}_members"]["IPAddress"] in found(), "the address of web")
            mounts = json.loads(podman.run("inspect", f"{project}_svcdns_1"))[0]["Mounts"]
            assert not [one for one in mounts if "sock" in one["Source"]]
