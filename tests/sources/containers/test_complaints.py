"""What users of other programs have complained of: each has a test that is named after it, here or not."""

import asyncio
import re
from pathlib import Path

from sources.containers.fake_engine import FakeEngine
from sources.containers.following import following
from toolbox.misbehaving import Misbehaving
from toolbox.running_server import SOURCE, RunningServer

COMPLAINTS = (
    *("registrator#325", "registrator#277", "registrator#181", "registrator#37", "traefik#1156"),
    *("dns-proxy-server#89", "traefik#5833", "traefik#13549", "traefik#12253", "docker-gen#269"),
    *("docker-gen#42", "libnetwork#2137", "traefik#7377", "podman#24003", "dozzle#5211", "podman#20029"),
    *("podman#13578", "podman#27786", "podman#7263", "podman#5224", "podman#8751", "weave#1977"),
    *("aardvark-dns#389", "compose#677", "libnetwork#1362", "dockdns#7", "traefik#1191", "traefik#4174"),
    *("external-dns#5846", "dnsdock#84", "compose#4834", "traefik#5730"),
)


def test_each_has_a_test() -> None:
    texts = [
        file.read_text()
        for folder in ("tests/sources/containers", "tests/server", "tests/container", "tests/config")
        for file in (SOURCE / folder).glob("*.py")
        if file.name != Path(__file__).name or "test_each_has_a_test" not in file.read_text()
    ]
    here = Path(__file__).read_text().partition("def test_each_has_a_test")[2]
    said = set(re.findall(r"[a-z-]+#\d+", " ".join([*texts, here])))
    assert [one for one in COMPLAINTS if one not in said] == []


async def test_labels_are_names_and_replicas_have_srv_records(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    """traefik#1191, libnetwork#1362: names from labels, and ports of replicas, open since 2016."""
    async with following(server, tmp_path, name) as here:
        labels = {"svcdns.io/port": "client=2379,peer=2380"}
        for number in (1, 2):
            here.engine.start(f"x{number}", f"10.89.0.{number}", (name, "etcd", number), labels)
        await here.until_addresses({f"{name}/etcd-1": "10.89.0.1", f"{name}/etcd-2": "10.89.0.2"})
        zone = f"etcd.{name}.svc.cluster.local"
        for port, number in (("client", 2379), ("peer", 2380)):
            found = await asyncio.to_thread(server.answers, f"_{port}._tcp.{zone}", "SRV")
            assert found == [f"0 50 {number} etcd-{n}.{zone}." for n in (1, 2)]


async def test_starts_of_many_lose_no_question_and_who_is_gone_is_answered_no_more(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    """aardvark-dns#389, netavark#1471: a reload for each start dropped questions; the dead were answered."""
    async with following(server, tmp_path, name) as here:
        here.engine.start("web", "10.89.0.5", (name, "web", 1))
        await here.until_addresses({f"{name}/web-1": "10.89.0.5"})
        found, ended = [], asyncio.Event()

        async def ask() -> None:
            while not ended.is_set():
                found.append(await asyncio.to_thread(server.answers, f"web.{name}.svc.cluster.local"))

        asking = asyncio.create_task(ask())
        for number in range(150):
            one = here.engine.start(f"ci-{number}", f"10.90.0.{number}", (name, "ci", number + 1))
            if number % 3:
                here.engine.remove(one)
            await asyncio.sleep(0)
        wanted = {f"{name}/ci-{n + 1}": f"10.90.0.{n}" for n in range(0, 150, 3)}
        await here.until_addresses({f"{name}/web-1": "10.89.0.5", **wanted})
        ended.set()
        await asking
        assert found
        assert all(one == ["10.89.0.5"] for one in found)


async def test_the_name_of_a_container_that_is_down_is_asked_of_nobody(tmp_path: Path, name: str) -> None:
    """dnsdock#84: it went upstream, and clients remembered what was said there."""
    with Misbehaving("answers") as upstream:
        config = f'[forward]\nupstreams = ["{upstream.address}"]\n'
        with RunningServer(workers=1, config=config) as server:
            engine = FakeEngine(tmp_path / "engine.sock")
            async with engine, following(server, tmp_path, name, engine) as here:
                one = engine.start("a", "10.89.0.5", (name, "a", 1))
                await here.until_addresses({f"{name}/a-1": "10.89.0.5"})
                engine.remove(one)
                await here.until_addresses({})
                for asked in (f"a-1.a.{name}.svc.cluster.local", f"a.{name}.svc.cluster.local"):
                    assert await asyncio.to_thread(server.answers, asked) == []
            asked = [str(one.question[0].name) for one in upstream.asked]
            assert not [one for one in asked if one.endswith("cluster.local.")]
