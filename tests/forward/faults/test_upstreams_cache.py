"""The cache of forwarded answers damaged, removed, or without room under a running server: answers go on.

It is a cache: all of it may be lost, and what is lost costs a question upstream.
"""

import contextlib
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forward.behaviour.expecting import WEB_NAME, metric, to
from forward.faults.stub_clients import Clients, Question, Result, ask, serve
from toolbox.running_server import RunningServer
from toolbox.small_disk import Ballast, small_disk
from toolbox.upstreams import Unbound
from toolbox.waiting import wait_for
from toolbox.witness import Witness

OWN, OUTSIDE = ["10.96.0.10"], ["192.0.2.10"]
MORE = 400
NAMES = 300
"""Names outside of which each is asked for several times: out of the cache, while there is one."""
PAGE = 4096
DISK = "1m"


def mixed(number: int) -> Question:
    tcp = number % 5 == 0
    return Question(
        WEB_NAME if number % 3 == 0 else f"n{number * 7 % NAMES if number % 2 else number}.load.example",
        tcp=tcp,
    )


def check(results: list[Result], tries: int = 1) -> None:
    for result in results:
        own = result.question.name == WEB_NAME
        assert (result.said, result.data) == ("NOERROR", OWN if own else OUTSIDE), result
        assert result.tries <= tries, result


@pytest.fixture(scope="module")
def upstream(need: Callable[..., str]) -> Iterator[Unbound]:
    need("unbound")
    with Unbound("*.example. 300 IN A 192.0.2.10", tls=False, https=False) as running:
        yield running


@pytest.fixture
def server(upstream: Unbound) -> Iterator[RunningServer]:
    with to(upstream.address) as running:
        serve(running)
        yield running


def overwrite(file: Path, octets: bytes, at: int = 0) -> None:
    with file.open("r+b") as changed:
        changed.seek(at)
        changed.write(octets)


def data_files(home: Path) -> list[Path]:
    return list(home.glob("*/data.mdb"))


def garbage_everywhere(home: Path) -> None:
    for file in data_files(home):
        overwrite(file, random.randbytes(100 * PAGE))


def garbage_behind_the_first_pages(home: Path) -> None:
    for file in data_files(home):
        overwrite(file, random.randbytes(100 * PAGE), 2 * PAGE)


def garbage_in_the_first_pages(home: Path) -> None:
    for file in data_files(home):
        overwrite(file, random.randbytes(2 * PAGE))


def garbage_in_every_page(home: Path) -> None:
    for file in data_files(home):
        with contextlib.suppress(FileNotFoundError):  # noticed on the way, and made anew
            for at in range(2 * PAGE, 100 * PAGE, PAGE):
                overwrite(file, random.randbytes(3000), at + 512)


def zeros(home: Path) -> None:
    for file in data_files(home):
        overwrite(file, bytes(100 * PAGE))


def garbage_in_the_lock_file(home: Path) -> None:
    """Octets of which none makes a mutex: any would now and then be one that is held, and waited for."""
    for file in home.glob("*/lock.mdb"):
        overwrite(file, bytes(random.choices(range(0x60, 0x80), k=20_000)))


def removed(home: Path) -> None:
    shutil.rmtree(home)


def emptied(home: Path) -> None:
    for file in home.glob("*/*"):
        file.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        garbage_everywhere,
        garbage_behind_the_first_pages,
        garbage_in_the_first_pages,
        garbage_in_every_page,
        zeros,
        removed,
        emptied,
    ],
)
def test_damage_under_a_running_server_costs_no_answer(
    server: RunningServer, damage: Callable[[Path], None]
) -> None:
    with Clients(server.dns, mixed) as clients:
        clients.until(MORE)
        assert data_files(server.data / "cache"), "there was nothing to damage"
        damage(server.data / "cache")
        clients.until(2 * MORE)
    check(clients.results)
    assert "Traceback" not in server.log()


def test_damage_of_the_lock_file_costs_at_most_what_a_process_had_in_hand(server: RunningServer) -> None:
    """LMDB follows numbers in it unseen, which may end the forwarder; the next one goes on."""
    with Clients(server.dns, mixed) as clients:
        clients.until(MORE)
        garbage_in_the_lock_file(server.data / "cache")
        clients.until(2 * MORE)
    check(clients.results, tries=2)
    assert "Traceback" not in server.log()


@pytest.mark.soak
def test_a_file_that_was_cut_costs_each_process_one_life_and_no_wrong_answer(server: RunningServer) -> None:
    """Reading behind the end of a mapped file ends a process (SIGBUS); the next one makes a new cache."""
    with Clients(server.dns, mixed) as clients:
        clients.until(MORE)
        for file in data_files(server.data / "cache"):
            os.truncate(file, 2 * PAGE)
        clients.until(2 * MORE)
    check(clients.results, tries=2)
    counters = server.counters()
    wait_for(counters.ready, "all processes to be there again")
    assert all(counters.get(row, "restarts") <= 1 for row in range(counters.forwarder + 1))
    wait_for(lambda: metric(server, "svcdns_cache_entries") > 0, "a new cache")


def test_without_room_on_disk_names_are_answered_and_with_room_kept_again(
    tmp_path: Path, upstream: Unbound
) -> None:
    data = tmp_path / "data"
    home = data / "cache"
    with to(upstream.address, data=data):
        pass  # a data folder has to be the server's own
    shutil.rmtree(home)
    home.mkdir(mode=0o700)
    with small_disk(home, f"size={DISK}"), to(upstream.address, data=data) as server:
        serve(server)
        with Clients(server.dns, mixed) as clients:
            clients.until(MORE)
            ballast = Ballast(home)
            ballast.fill()
            clients.until(2 * MORE)
            ballast.drop()
            clients.until(MORE)
        check(clients.results)
        assert "Traceback" not in server.log()
        counters = server.counters()
        assert not any(counters.get(row, "restarts") for row in range(counters.forwarder + 1))
        ask(server.dns, Question("kept.load.example"))
        wait_for(
            lambda: ask(server.dns, Question("kept.load.example")) and metric(server, "svcdns_cache_entries"),
            "answers to be kept again",
        )


def test_a_forwarder_that_waits_for_what_a_lock_file_says_is_replaced(upstream: Unbound) -> None:
    """Workers have the cache open, so the next one takes the file as it is: held, by nobody, for ever."""
    impatient = "from svcdns.server import forwarder; forwarder.OPEN_SECONDS = 4.0; "
    command = (sys.executable, "-c", impatient + "from svcdns.cli.start import main; main()")
    with to(upstream.address, command=command) as server:
        serve(server)
        assert server.ask("one.load.example").answer
        (file,) = (server.data / "cache").glob("*/lock.mdb")
        maps = [Path(f"/proc/{pid}/maps") for pid in server.worker_pids]
        wait_for(lambda: all(str(file) in one.read_text() for one in maps), "workers to have the cache open")
        Witness(server.dns, len(maps)).close()  # who answers has done with opening it
        for mutex in (8, 64):
            overwrite(file, (1).to_bytes(4, "little"), mutex)
        counters = server.counters()
        os.kill(counters.get(counters.forwarder, "pid"), signal.SIGKILL)
        wait_for(lambda: "forwarder was ended by SIGALRM" in server.log(), "the next one to be ended")
        wait_for(counters.forwarder_lives, "one that comes back")
        assert server.ask("another.load.example").answer
