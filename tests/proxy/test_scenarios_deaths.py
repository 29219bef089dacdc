"""Traffic outlives svcdns: processes are killed while clients go on, and what comes after is right again."""

import http.client
import random
import threading
from collections.abc import Iterator

import pytest
from proxy.site import Site, Web
from toolbox.lab import Answer, Lab, Machine, ask_again
from toolbox.waiting import wait_for

PROXY, WRITER = "svcdns.server.proxy", "svcdns.server.writer"


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with Site(lab) as made:
        yield made


class Clients:
    """One that connects again and again, and one whose connection stays; a context manager.

    Rules: an answer may take as long as a busy machine does; whatever keeps one away is a failure, and none
    ends the thread unseen.
    """

    def __init__(self, lab: Lab, web: Web) -> None:
        self._lab, self._address = lab, web.cluster_ip(4)
        self._stop = threading.Event()
        self.failures: list[str] = []
        self.answers = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Clients":
        self._open = self._lab.client.connect("tcp", self._address, 80)
        self._flow = self._lab.client.connect("udp", self._address, 80)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._open.close()
        self._flow.close()

    def _run(self) -> None:
        flow: Answer | None = None
        while not self._stop.is_set():
            try:
                self._lab.client.ask("tcp", self._address, 80)
                ask_again(self._open)
                flow = flow or ask_again(self._flow)
                if ask_again(self._flow) != flow:
                    self.failures.append("the UDP flow went elsewhere")
            except Exception as wrong:  # such as the end of a connection (EOFError)
                self.failures.append(repr(wrong))
                continue
            self.answers += 1


@pytest.mark.parametrize("killed", [PROXY, WRITER], ids=["proxy", "api"])
def test_no_connection_is_lost_when_a_process_is_killed(site: Site, lab: Lab, killed: str) -> None:
    name = killed.rpartition(".")[2]
    web = site.service(name, [lab.a1, lab.b1])
    site.reaches(lab.client, "tcp", web.cluster_ip(4), 80, {"a1", "b1"})
    with Clients(lab, web) as clients:
        for _ in range(3):
            site.kill(killed)
        after = site.service(f"{name}-after", [lab.b2])
        site.reaches(lab.client, "tcp", after.cluster_ip(4), 80, {"b2"})
    assert clients.answers > 10 and not clients.failures
    site.set_ready(name, lab.a1, False)
    site.reaches(lab.a2, "tcp", web.cluster_ip(4), 80, {"b1"})


def test_no_connection_is_lost_when_all_of_it_is_killed_and_started_again(site: Site, lab: Lab) -> None:
    web = site.service("all", [lab.a1, lab.b1])
    site.reaches(lab.client, "tcp", web.cluster_ip(4), 80, {"a1", "b1"})
    with Clients(lab, web) as clients:
        site.kill_all()
        site.reaches(lab.b2, "tcp", web.cluster_ip(4), 80, {"a1", "b1"})
        site.start_again()
        after = site.service("all-after", [lab.b2])
        site.reaches(lab.client, "tcp", after.cluster_ip(4), 80, {"b2"})
    assert clients.answers > 10 and not clients.failures
    site.set_ready("all", lab.b1, False)
    site.reaches(lab.b2, "tcp", web.cluster_ip(4), 80, {"a1"})


class Churn:
    """Somebody who changes which of two Pods of a Service is ready; a context manager."""

    def __init__(self, site: Site, app: str, pods: tuple[Machine, Machine]) -> None:
        self._site, self._app, self._pods = site, app, pods
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._changes = 0
        self._refusal = ""
        self.ready = pods[0]
        """The one that was ready last."""

    def __enter__(self) -> "Churn":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def changes(self) -> int:
        """How many the API has taken.  Raises AssertionError when it has refused one."""
        assert not self._refusal, self._refusal
        return self._changes

    def _run(self) -> None:
        first, second = self._pods
        try:
            while not self._stop.is_set():
                for comes, goes in ((second, first), (first, second)):
                    self._say(comes, True)
                    self._say(goes, False)
                    self.ready = comes
        except AssertionError as refused:
            self._refusal = f"a change was refused: {refused}"

    def _say(self, pod: Machine, ready: bool) -> None:
        """Say it until the API has taken it: it is killed now and then."""
        while True:
            try:
                self._site.set_ready(self._app, pod, ready)
                self._changes += 1
                return
            except (OSError, http.client.HTTPException):
                continue


@pytest.mark.parametrize("kills", [5, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_killed_at_random_moments_of_changes_nothing_is_lost_and_the_end_is_right(
    site: Site, lab: Lab, kills: int
) -> None:
    app = f"churn-{kills}"
    stays, changes = site.service(f"{app}-stays", [lab.a1, lab.b1]), site.service(app, [lab.a2, lab.b2])
    site.set_ready(app, lab.b2, False)
    site.reaches(lab.client, "tcp", stays.cluster_ip(4), 80, {"a1", "b1"})
    moments = random.Random(kills)
    with Clients(lab, stays) as clients:
        with Churn(site, app, (lab.a2, lab.b2)) as churn:
            for number in range(kills):
                before = churn.changes + moments.randint(0, 5)
                wait_for(lambda before=before: churn.changes >= before, "some changes")
                for module in ((PROXY,), (WRITER,), (PROXY, WRITER))[number % 3]:
                    site.kill(module)
        assert churn.changes
        site.reaches(lab.client, "tcp", changes.cluster_ip(4), 80, {churn.ready.short})
        site.reaches(lab.a1, "tcp", changes.cluster_ip(4), 80, {churn.ready.short})
    assert clients.answers > kills
    assert not clients.failures
