"""A folder of other people's files: what can be registered answers in DNS, and each of the rest is named."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifests.written import SERVICE_TEXT, reading, write
from toolbox.builders import service
from toolbox.registry_harness import started
from toolbox.running_server import RunningServer, svcdns
from toolbox.waiting import wait_for

from svcdns.manifests.files import warnings
from svcdns.manifests.manifests import apply_manifests
from svcdns.manifests.reading import read_manifests
from svcdns.manifests.saying import MOST_LINES, log_not_taken

NOBODY = 65534
CORPUS = Path(__file__).with_name("corpus")

REGISTERED = {
    "anchors.yaml": ["Service mail", "Service mail-submission"],
    "bomb.yaml": ["Service beside-the-bomb"],
    "broken-in-the-middle.yaml": ["Service before", "Service after"],
    "compose-chat.yaml": ["Service chat"],
    "exported.json": ["Service ledger", "Pod ledger-abc-1"],
    "helm-shop.yaml": ["Service spring-shop", "Pod spring-shop-test-connection"],
    "kustomize-blog.yaml": ["Service blog-db", "Pod blog-db-0"],
    "operator-bundle.yaml": ["Service operator-webhook"],
    "zz-namespaces-again.yaml": ["Namespace blog"],
}

MISTAKES = {
    ("bomb.yaml", 1): "has more than 200000 values",
    ("broken-in-the-middle.yaml", 2): "YAML takes no tabs",
    ("broken-in-the-middle.yaml", 3): "line 14: ",
    ("broken-in-the-middle.yaml", 5): "kubectl create namespace nobody-makes-it",
    ("chart-template.yaml", 1): "helm template",
    ("compose-chat.yaml", 1): "items[2].spec.ports[0].port: ",
    ("exported.json", 2): "what follows in the file is not read",
    ("operator-bundle.yaml", 5): "write EndpointSlices",
    ("operator-bundle.yaml", 6): "write apiVersion: discovery.k8s.io/v1, kind: EndpointSlice",
}

LEFT_OUT = {
    ("Chart.yaml", 1): "helm template",
    ("anchors.yaml", 1): "is no Kubernetes object",
    ("compose-chat.yaml", 1): "the labels io.kompose.service=chat, by which Service chat selects it",
    ("compose.yaml", 1): "is no Kubernetes object",
    ("exported.json", 1): "items[2]: is what happened elsewhere (Event ledger.1)",
    (
        "helm-shop.yaml",
        1,
    ): "v1 ServiceAccount is no kind that is registered here (ServiceAccount spring-shop)",
    ("helm-shop.yaml", 2): "(ConfigMap spring-shop)",
    ("helm-shop.yaml", 5): "app.kubernetes.io/instance=spring, by which Service spring-shop selects it",
    ("kustomization.yaml", 1): "kubectl kustomize",
    ("kustomize-blog.yaml", 3): "spec.hostname: blog-db-0 and spec.subdomain: blog-db",
    (
        "kustomize-blog.yaml",
        4,
    ): "is not run here (CronJob blog-backup); register each of its Pods with its address "
    "(status.podIP) and the labels app=blog-backup",
    ("operator-bundle.yaml", 1): "CustomResourceDefinition",
    ("operator-bundle.yaml", 2): "(Cache sessions)",
    ("operator-bundle.yaml", 3): "is not run here (Service same-kind-of-another-group)",
    ("package.json", 1): "is no Kubernetes object",
    ("values.yaml", 1): "is no Kubernetes object",
    ("zz-namespaces.yaml", 1): "already, the same (Namespace blog)",
}


def test_what_becomes_of_each_file() -> None:
    found = read_manifests([CORPUS]).in_namespaces()
    registered: dict[str, list[str]] = {}
    for one in found.manifests:
        registered.setdefault(one.place.file.name, []).append(f"{one.kind.name} {one.name}")
    assert registered == REGISTERED
    for expected, is_mistake in ((MISTAKES, True), (LEFT_OUT, False)):
        lines: dict[tuple[str, int], str] = {}
        for one in found.not_taken:
            if one.is_mistake is is_mistake:
                lines.setdefault((one.place.file.name, one.place.document), str(one))
        assert lines.keys() == expected.keys()
        for place, text in expected.items():
            assert text in lines[place]


def test_a_server_starts_on_it_and_says_what_it_left(tmp_path: Path) -> None:
    (tmp_path / "svcdns.toml").write_text("")
    with RunningServer(workers=1, arguments=("--manifests", str(CORPUS))) as server:
        base = "svc.cluster.local"
        for name, address in {
            f"spring-shop.default.{base}": "10.96.20.1",
            f"blog-db-0.blog-db.blog.{base}": "10.244.20.5",
            f"chat.default.{base}": "10.96.20.3",
            f"mail-submission.default.{base}": "10.96.20.6",
            f"after.default.{base}": "10.96.20.9",
            f"ledger.default.{base}": "10.96.20.10",
        }.items():
            assert server.answers(name) == [address]
        lines = [line for line in server.log().splitlines() if "manifests.saying: manifest" in line]
        assert len(lines) == MOST_LINES + 2, "one of what was applied, one of how many more there are"
        assert "manifests not taken: 7 left out more; `svcdns check` names all" in lines[-1]

        def events() -> list[dict[str, str]]:
            found = server.get("/api/v1/events").json["items"]
            return [one for one in found if one["reason"] == "ManifestsNotTaken"]

        wait_for(events, "the Event")
        (event,) = events()
        assert event["type"] == "Warning"
        assert event["message"].startswith(
            "Not taken: 10 mistakes, 17 left out; `svcdns check` names all. (1) bomb.yaml"
        )
        assert str(CORPUS) not in event["message"]


# Files as they come from other machines


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_files_of_windows_are_read_with_their_byte_order_marks(
    tmp_path: Path, encoding: str, end: str
) -> None:
    text = ("" if encoding.startswith("utf-8") or encoding == "utf-16" else "\ufeff") + SERVICE_TEXT
    for name, both in (
        ("m.yaml", text + "---\n" + SERVICE_TEXT.replace("web", "löwe").replace("80", "0")),
        ("m.json", text[: text.index("api")] + json.dumps(service("json"))),
    ):
        (tmp_path / name).write_bytes(both.replace("\n", end).encode(encoding))
    found = read_manifests([tmp_path])
    assert [one.name for one in found.manifests] == ["json", "web"]
    assert {one.what for one in found.not_taken} == {"Service löwe"}


def test_files_that_were_put_together_keep_their_marks_inside(tmp_path: Path) -> None:
    both = (
        b"\xef\xbb\xbf"
        + SERVICE_TEXT.encode()
        + b"\xef\xbb\xbf---\n"
        + SERVICE_TEXT.replace("web", "b").encode()
    )
    (tmp_path / "m.yaml").write_bytes(both)
    assert [one.name for one in read_manifests([tmp_path]).manifests] == ["web", "b"]


def test_what_is_no_file_is_named_and_never_waited_for(tmp_path: Path) -> None:
    write(tmp_path, "good.yaml", service())
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "nowhere.yml").symlink_to("nothing")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "again.yaml").symlink_to("good.yaml")
    os.mkfifo(tmp_path / "pipe.json")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket.yaml"))
        (tmp_path / "zero.yaml").symlink_to("/dev/zero")
        (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
        (tmp_path / "a\x1b[31m\n.yaml").write_text("[")
        found = read_manifests([tmp_path, tmp_path / "good.yaml", tmp_path / "pipe.json"])
    assert [one.name for one in found.manifests] == ["web"]
    assert [str(one).removeprefix(f"{tmp_path}/").partition(": ")[::2] for one in found.not_taken] == [
        ("a?[31m .yaml, document 1", "line 2: did not find expected node content"),
        ("binary.yaml", "line 2: not UTF-8"),
        ("loop.yaml", "can't be read: too many levels of symbolic links"),
        ("nowhere.yml", "can't be read: no such file or directory"),
        ("pipe.json", "is neither a file nor a folder"),
        ("socket.yaml", "is neither a file nor a folder"),
        ("zero.yaml", "is neither a file nor a folder"),
    ]


@contextmanager
def as_nobody() -> Iterator[Path]:
    """Be a user who may not read everything, with a folder of their own."""
    with TemporaryDirectory() as folder:
        user = os.geteuid()
        try:
            if user == 0:
                os.chown(folder, NOBODY, NOBODY)
                os.seteuid(NOBODY)
            yield Path(folder)
        finally:
            os.seteuid(user)


def test_what_may_not_be_read_is_named() -> None:
    with as_nobody() as folder:
        write(folder, "good.yaml", service())
        write(folder, "secret.yaml", service("b")).chmod(0)
        closed = folder / "closed"
        closed.mkdir(mode=0)
        found = read_manifests([folder, closed, closed / "m.yaml"])
    assert [one.name for one in found.manifests] == ["web"]
    assert [one.why for one in found.not_taken] == ["can't be read: permission denied"] * 3


def test_a_folder_that_holds_all_but_manifests_is_warned_of(tmp_path: Path) -> None:
    for inside in ("chart/templates", "chart/.git", "empty", "volume/lost+found", "good"):
        (tmp_path / inside).mkdir(parents=True)
    write(tmp_path / "chart" / "templates", "web.yaml", service())
    write(tmp_path / "good", "web.yml", service())
    (line,) = warnings([*sorted(tmp_path.iterdir()), tmp_path / "nothing", tmp_path / "good" / "web.yml"])
    assert line.startswith(f"manifests: {tmp_path}/chart: ")
    ran = svcdns("check", "--manifests", tmp_path / "chart", cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, f"svcdns: {line}\n")


# Junk

GOOD = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "good"},
    "spec": {"clusterIP": "10.96.99.1", "ports": [{"port": 1}]},
}
TEXTS = [file.read_bytes() for file in sorted(CORPUS.iterdir())]


@st.composite
def spliced(draw: st.DrawFn) -> bytes:
    """Return the beginning of one file of the corpus and the end of another, with something between."""
    first, second = draw(st.sampled_from(TEXTS)), draw(st.sampled_from(TEXTS))
    cut, begin = draw(st.integers(0, len(first))), draw(st.integers(0, len(second)))
    return first[:cut] + draw(st.binary(max_size=8)) + second[begin:]


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
JUNK = st.dictionaries(
    st.tuples(NAMES, st.sampled_from([".yaml", ".yml", ".json", "", ".gz"]))
    .map("".join)
    .filter(lambda name: name not in (".", "..")),
    st.binary(max_size=200) | spliced() | st.sampled_from(TEXTS),
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(JUNK, st.sampled_from(["00.yaml", "zz.json"]))
def test_good_files_answer_whatever_lies_beside_them(junk: dict[str, bytes], name: str) -> None:
    async def check(temporary: str) -> None:
        folder = Path(temporary) / "m"
        folder.mkdir()
        for other, octets in junk.items():
            (folder / other).write_bytes(octets)
        (folder / name).write_text(json.dumps(GOOD))
        async with started(Path(temporary) / "data") as running:
            applied = await apply_manifests(running.registry, read_manifests([folder]))
            assert running.rrs("good.default.svc.cluster.local", "A") == ["10.96.99.1"]
        assert all(str(one).isprintable() for one in applied.not_taken)

    with TemporaryDirectory() as temporary:
        asyncio.run(check(temporary))


def test_thousands_of_mistakes_are_a_bounded_number_of_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = [service(f"s{number}", ports=[]) for number in range(500)]
    found = reading(tmp_path, {"apiVersion": "v1", "kind": "List", "items": items}, *["[[\n"] * 50)
    log_not_taken(found.not_taken)
    assert len(found.not_taken) == 500 + 21
    assert len(caplog.messages) == MOST_LINES + 1
    assert caplog.messages[-1].startswith("manifests not taken: 501 mistakes more")


# A server that runs


def test_a_writer_that_comes_back_keeps_what_a_broken_file_gave(tmp_path: Path) -> None:
    manifest = write(tmp_path, "web.yaml", service(clusterIP="10.96.7.7"))
    with RunningServer(workers=1, arguments=("--manifests", str(tmp_path))) as server:
        manifest.write_text("{")
        write(tmp_path, "new.yaml", service("new", clusterIP="10.96.7.8"))
        os.kill(server.writer_pid, signal.SIGKILL)
        wait_for(lambda: f"{manifest}, document 1: " in server.log(), "the log line")
        wait_for(server.counters().ready, "the server to be ready again")
        assert "what is registered stays as it is" in server.log()
        assert server.answers("web.default.svc.cluster.local") == ["10.96.7.7"]
        assert server.answers("new.default.svc.cluster.local") == ["10.96.7.8"]
