"""Replicas as a user of etcd, and with certificates: what runs out is renewed, and what is wrong is told.

DNS goes on from the map all the while, and nothing has to be started again.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from replicas.replicas_harness import Patient, Replica, Replicas, assert_alike, know_each_other
from toolbox.builders import headless, pod
from toolbox.etcd_access import (
    AS_ADMINISTRATOR,
    FAST_PASSWORDS,
    certificate,
    change_password,
    have_user,
    shown_by_etcdctl,
    shown_by_members,
    tokens_that_end,
    write,
)
from toolbox.etcd_members import Members
from toolbox.running_etcd import RunningEtcd
from toolbox.waiting import GUARD_SECONDS, until

from svcdns.cli.certificates import make_ca
from svcdns.etcd.client import Etcd, Login
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import POD, SERVICE
from svcdns.registry.replicated import following, naming

TOKEN_SECONDS = 1


@pytest.fixture
def guarded(need: Callable[..., str], tmp_path: Path) -> Iterator[Replicas]:
    """Give a registry in an etcd with users, whose tokens soon run out."""
    need("etcd")
    options = tokens_that_end(tmp_path, TOKEN_SECONDS)
    with RunningEtcd(options=options, more=AS_ADMINISTRATOR) as etcd:
        replicas = Replicas(etcd, tmp_path)
        have_user(etcd, "secret", replicas.prefix)
        yield replicas


@asynccontextmanager
async def pair(of: Replicas, password: Path) -> AsyncIterator[tuple[Replica, Replica]]:
    """Give two replicas that know each other."""
    user = Login(user="svcdns", password_file=password)
    clients = [Patient(of.etcd.endpoints, login=user) for _ in range(2)]
    async with of.replica("a", client=clients[0]) as a, of.replica("b", client=clients[1]) as b:
        await know_each_other(a, b)
        await a.create(headless("web"))
        yield a, b


async def test_tokens_that_run_out_are_no_outage(
    guarded: Replicas,
    password: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(naming, "LEASE_SECONDS", int(GUARD_SECONDS))  # a busy machine is late
    monkeypatch.setattr(following, "SILENT_SECONDS", GUARD_SECONDS)
    caplog.set_level(logging.INFO)
    async with pair(guarded, password) as (a, b):
        caplog.clear()
        began, number = time.monotonic(), 0
        while time.monotonic() - began < 3 * TOKEN_SECONDS:
            number += 1
            await (a, b)[number % 2].create(pod(f"web-{number}", f"10.1.0.{number % 250}", ready=True))
            assert not a.registry.trouble and not b.registry.trouble
            await until(lambda number=number: f"web-{number}" in a.names(POD), "the write")
            await until(lambda number=number: f"web-{number}" in b.names(POD), "the write at both")
        await assert_alike(a, b)
        said = " ".join(caplog.messages)
        assert "has gone" not in said and "can't be used" not in said and "begun again" not in said


async def test_a_password_that_was_changed_is_named_and_taken_up_without_a_restart(
    guarded: Replicas, password: Path
) -> None:
    async with pair(guarded, password) as (a, b):
        await a.create(pod("web-1", "10.1.0.1", ready=True))
        await b.shows_what(a)
        rows = b.rows()
        change_password(guarded.etcd, "changed")
        for one in (a, b):
            with pytest.raises(StatusError) as refused:
                await one.create(pod("web-2", "10.1.0.2", ready=True))
            assert refused.value.code in (503, 504)
            await until(lambda one=one: "authentication failed" in one.registry.trouble, "the reason")
            with pytest.raises(StatusError) as refused:
                await one.create(pod("web-2", "10.1.0.2", ready=True))
            assert (refused.value.code, refused.value.retry_after) == (503, 2)
            assert "authentication failed" in refused.value.message
            assert "store.etcd_password_file" in refused.value.message
            assert "nothing was changed" in refused.value.message
        assert b.rows() == rows
        password.write_text("changed\n")
        for one in (a, b):
            await until(lambda one=one: not one.registry.trouble, "the outage to be over")
        await b.create(pod("web-2", "10.1.0.2", ready=True))
        await assert_alike(a, b)
        await know_each_other(a, b)


def login(folder: Path) -> Login:
    shown = folder / "client.crt"
    return Login(ca=folder / "ca.crt", certificate=shown, key=shown.with_suffix(".key"))


@pytest.mark.parametrize("whose", ["client", "member"])
async def test_a_certificate_that_ran_out_is_named_and_taken_up_when_it_is_renewed(
    need: Callable[..., str], tmp_path: Path, whose: str
) -> None:
    need("etcd")
    ca = make_ca()
    trusted = write(tmp_path, "ca", ca)
    member = write(tmp_path, "member", certificate(ca, "member"))
    file = write(tmp_path, "client", certificate(ca, "client"))
    shown = shown_by_etcdctl(write(tmp_path, "etcdctl", certificate(ca, "etcdctl")), trusted)
    with RunningEtcd(1, "https", shown_by_members(member, trusted), shown) as etcd:
        client = Etcd(etcd.endpoints, login(tmp_path))
        async with Replicas(etcd, tmp_path).replica("a", client=client) as a:
            await a.create(headless("web"))
            await a.create(pod("web-1", "10.1.0.1", ready=True))
            rows = a.rows()
            etcd.kill()
            write(tmp_path, whose, certificate(ca, "old", good_for=timedelta(seconds=-1)))
            await until(lambda: "connection refused" in a.registry.trouble, "it to be noticed")
            etcd.launch()
            said = f"{file}: certificate has expired" if whose == "client" else "a member's certificate"
            await until(lambda: said in a.registry.trouble, "the reason")
            with pytest.raises(StatusError, match="certificate has expired") as refused:
                await a.create(pod("web-2", "10.1.0.2", ready=True))
            assert refused.value.code == 503 and "nothing was changed" in refused.value.message
            assert a.rows() == rows
            write(tmp_path, whose, certificate(ca, "renewed"))
            await until(lambda: not a.registry.trouble, "the outage to be over")
            await a.create(pod("web-2", "10.1.0.2", ready=True))


async def test_a_ca_is_replaced_member_by_member_while_replicas_write(
    need: Callable[..., str], tmp_path: Path
) -> None:
    need("etcd")
    old, new = make_ca(), make_ca()
    trusted = write(tmp_path, "ca", old)
    member = write(tmp_path, "member", certificate(old, "member"))
    write(tmp_path, "client", certificate(old, ""))
    shown = shown_by_etcdctl(write(tmp_path, "etcdctl", certificate(old, "etcdctl")), trusted)
    (tmp_path / "password").write_text("secret")
    as_user = replace(login(tmp_path), user="svcdns", password_file=tmp_path / "password")

    def renew() -> None:
        for name in ("member", "client", "etcdctl"):
            write(tmp_path, name, certificate(new, "" if name == "client" else name))

    steps: tuple[Callable[[], object], ...] = (
        lambda: trusted.write_bytes(old.certificate_pem + new.certificate_pem),
        renew,
    )
    options = [*shown_by_members(member, trusted), *FAST_PASSWORDS]
    with Members(3, "https", options, [*shown, *AS_ADMINISTRATOR]) as etcd:
        replicas = Replicas(etcd, tmp_path)
        have_user(etcd, "secret", replicas.prefix)
        clients = [Etcd(etcd.endpoints, as_user) for _ in range(2)]
        async with (
            replicas.replica("a", client=clients[0]) as a,
            replicas.replica("b", client=clients[1]) as b,
            writing(a, "a") as of_a,
            writing(b, "b") as of_b,
        ):
            for step in steps:
                step()
                for one in etcd.members:
                    one.kill()
                    goal = len(of_a) + 2, len(of_b) + 2
                    await until(lambda goal=goal: (len(of_a), len(of_b)) >= goal, "writes without it")
                    await asyncio.to_thread(etcd.restart, one)
        trusted.write_bytes(new.certificate_pem)
        async with replicas.replica("c", client=Etcd(etcd.endpoints, as_user)) as c:
            assert set(of_a + of_b) == set(c.names(SERVICE)), "what was acknowledged, and nothing else"


@asynccontextmanager
async def writing(at: Replica, letter: str) -> AsyncIterator[list[str]]:
    """Have one Service after the other created; give the names of those that were acknowledged."""
    done, over = list[str](), asyncio.Event()

    async def write_on() -> None:
        while not over.is_set():
            name = f"{letter}-{len(done)}"
            try:
                await at.create(headless(name))
            except StatusError as refused:
                assert refused.code in (409, 503, 504), refused
                if refused.code != 409:  # else the one before was carried out after all
                    await asyncio.sleep(0.05)
                    continue
            done.append(name)

    work = asyncio.ensure_future(write_on())
    try:
        yield done
    finally:
        over.set()
        await work
