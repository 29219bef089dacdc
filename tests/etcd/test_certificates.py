"""Certificates of members and of a client, from a real etcd: wanted, wrong, run out, renewed on disk."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from toolbox.etcd_access import (
    AS_ADMINISTRATOR,
    FAST_PASSWORDS,
    certificate,
    have_user,
    shown_by_etcdctl,
    shown_by_members,
    write,
)
from toolbox.running_etcd import RunningEtcd
from toolbox.waiting import until as eventually

from svcdns.cli.certificates import Pair, make_ca, make_client
from svcdns.etcd.client import Etcd, Login, Unavailable
from svcdns.etcd.messages import Put

NOWHERE = "http://127.0.0.1:1"


def login(trusted: Path, shown: Path) -> Login:
    return Login(ca=trusted, certificate=shown, key=shown.with_suffix(".key"))


async def put(client: Etcd, key: bytes) -> int:
    return (await client.transaction([], [Put(key, b"x")])).revision


async def test_members_and_clients_show_certificates(need: Callable[..., str], tmp_path: Path) -> None:
    need("etcd")
    ca, other = make_ca(), make_ca()
    trusted = write(tmp_path, "ca", ca)
    server = write(tmp_path, "server", certificate(ca, "member"))
    client = write(tmp_path, "client", make_client(ca, "svcdns", []))
    shown = shown_by_etcdctl(client, trusted)
    with RunningEtcd(1, "https", shown_by_members(server, trusted), shown) as etcd:
        good = Etcd(etcd.endpoints, login(trusted, client))
        assert await put(good, b"/tls")
        with pytest.raises(Unavailable):
            await Etcd(etcd.endpoints, Login(ca=trusted)).range(b"/tls")
        distrusted = write(tmp_path, "other", other)
        with pytest.raises(Unavailable, match="can't be read"):
            await Etcd(etcd.endpoints, Login(ca=tmp_path / "none")).range(b"/tls")
        late = Etcd(etcd.endpoints, login(distrusted, client))
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await late.range(b"/tls")
        with pytest.raises(Unavailable, match="https:"):
            await Etcd([etcd.endpoints[0].replace("https", "http")]).range(b"/tls")
        watch = good.watch(b"/tls", b"/tls0", 1)
        assert (await anext(watch)).events
        next_change = asyncio.ensure_future(anext(watch))
        for text in (b"half written", client.read_bytes()):
            client.write_bytes(text)
            with pytest.raises(Unavailable):
                await good.status(NOWHERE)  # a failure: files are looked at again
            assert await put(good, b"/tls"), "with the old certificate, or the new one"
        assert (await next_change).events, "on the old connections"
        distrusted.write_bytes(ca.certificate_pem)
        assert (await late.range(b"/tls")).kvs, "files that have changed are read again"
        for one in (good, late):
            await one.close()


@pytest.fixture
def ca() -> Pair:
    return make_ca()


@pytest.fixture
def secured(need: Callable[..., str], tmp_path: Path, ca: Pair) -> Iterator[RunningEtcd]:
    """Give an etcd that wants certificates, with the files `ca`, `member` and `client` in the folder."""
    need("etcd")
    trusted = write(tmp_path, "ca", ca)
    member = write(tmp_path, "member", certificate(ca, "member"))
    shown = shown_by_etcdctl(write(tmp_path, "etcdctl", certificate(ca, "etcdctl")), trusted)
    write(tmp_path, "client", certificate(ca, "client"))
    options = [*shown_by_members(member, trusted), *FAST_PASSWORDS]
    with RunningEtcd(1, "https", options, [*shown, *AS_ADMINISTRATOR]) as etcd:
        yield etcd


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [(-60, -1, "certificate has expired"), (60, 120, "certificate is not yet valid")],
)
async def test_a_certificate_that_is_not_good_now_is_named_and_read_again_when_it_is_renewed(
    secured: RunningEtcd, tmp_path: Path, ca: Pair, since: int, until: int, said: str
) -> None:
    bad = {"good_since": timedelta(seconds=since), "good_for": timedelta(seconds=until)}
    file = write(tmp_path, "client", certificate(ca, "client", **bad))
    client = Etcd(secured.endpoints, login(tmp_path / "ca.crt", file))
    for _ in range(3):
        with pytest.raises(Unavailable, match=rf"store\.etcd_certificate.*client\.crt: {said}"):
            await put(client, b"/a")
        with pytest.raises(Unavailable, match=rf"client\.crt: {said}"):
            await anext(client.watch(b"/a", b"/b", 1))
    write(tmp_path, "client", certificate(ca, "client"))
    assert await put(client, b"/a")
    write(tmp_path, "member", certificate(ca, "member", **bad))
    late = Etcd(secured.endpoints, login(tmp_path / "ca.crt", file))
    with pytest.raises(Unavailable, match=rf"{said}.*a member's certificate"):
        await put(late, b"/a")
    assert await put(client, b"/a"), "connections that are there go on"
    write(tmp_path, "member", certificate(ca, "member"))
    assert await put(late, b"/a")
    write(tmp_path, "member", certificate(ca, "member", address="127.0.0.9"))
    other = Etcd(secured.endpoints, login(tmp_path / "ca.crt", file))
    with pytest.raises(Unavailable, match="have to name the hosts"):
        await put(other, b"/a")
    for one in (client, late, other):
        await one.close()


async def test_a_certificate_that_was_renewed_in_time_is_no_outage(
    secured: RunningEtcd, tmp_path: Path, ca: Pair
) -> None:
    first = certificate(ca, "client", good_for=timedelta(seconds=2))
    file = write(tmp_path, "client", first)
    clients = [Etcd(secured.endpoints, login(tmp_path / "ca.crt", file)) for _ in range(2)]
    for client in clients:
        await put(client, b"/a")
    write(tmp_path, "client", certificate(ca, "client"))
    await eventually(
        lambda: datetime.now(UTC) > first.certificate.not_valid_after_utc, "the first to run out"
    )
    for client in clients:
        assert await put(client, b"/a"), "on the connection that is there"
    secured.kill()
    secured.start()
    assert (await clients[0].range(b"/a")).kvs, "on a new one"
    assert await put(clients[0], b"/a")
    assert (await anext(clients[1].watch(b"/a", b"/b", 1))).events
    for client in clients:
        await client.close()


async def test_a_key_with_a_password_is_named(tmp_path: Path, ca: Pair) -> None:
    file = write(tmp_path, "client", certificate(ca, "client"))
    key = load_pem_private_key(file.with_suffix(".key").read_bytes(), None)
    locked = BestAvailableEncryption(b"secret")
    file.with_suffix(".key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    with pytest.raises(Unavailable, match=r"store\.etcd_key is protected by a password"):
        await Etcd(["https://127.0.0.1:1"], login(write(tmp_path, "ca", ca), file)).range(b"/a")


async def test_a_user_with_a_certificate_of_somebody_is_told_that_it_has_to_be_nobodys(
    secured: RunningEtcd, tmp_path: Path, ca: Pair
) -> None:
    have_user(secured, "secret")
    (tmp_path / "password").write_text("secret")
    user = replace(
        login(tmp_path / "ca.crt", tmp_path / "client.crt"),
        user="svcdns",
        password_file=tmp_path / "password",
    )
    client = Etcd(secured.endpoints, user)
    with pytest.raises(Unavailable, match=r"store\.etcd_certificate has to be without a common name"):
        await put(client, b"/svcdns/a")
    write(tmp_path, "client", certificate(ca, ""))
    await client.close()
    client = Etcd(secured.endpoints, user)
    assert await put(client, b"/svcdns/a")
    await client.close()
