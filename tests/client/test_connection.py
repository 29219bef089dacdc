"""Which server is meant: the first that says something wins, and a mistake is named with its place."""

import base64
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from svcdns.client import NoServer, find

HERE = "http://127.0.0.1:8053"


def published(folder: Path, **more: Any) -> Path:
    """A data folder on which a server runs: this process stands for it."""
    folder.mkdir()
    (folder / "addresses.json").write_text(json.dumps({"pid": os.getpid(), "api": "127.0.0.1:8053", **more}))
    return folder


def kubeconfig(file: Path, **user: Any) -> Path:
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "clusters": [
            {"name": "other", "cluster": {"server": "https://192.0.2.1"}},
            {"name": "c", "cluster": {"server": "https://dns.example.org:8053/"}},
        ],
        "users": [{"name": "u", "user": user}],
    }
    file.write_text(yaml.safe_dump(document))
    return file


def test_what_is_said_wins_over_all_others(tmp_path: Path) -> None:
    folder = published(tmp_path / "data")
    environ = {"SVCDNS_API": "http://192.0.2.1:1", "KUBECONFIG": str(kubeconfig(tmp_path / "k"))}
    assert find("http://192.0.2.2:2/", environ, [folder]).url == "http://192.0.2.2:2"
    assert find("", environ, [folder]).url == "http://192.0.2.1:1"
    del environ["SVCDNS_API"]
    assert find("", environ, [folder]).url == "https://dns.example.org:8053"
    assert find("", {}, [folder]).url == HERE


@pytest.mark.parametrize(
    ("server", "passed_over"),
    [
        (HERE, ""),
        ("http://localhost:8053", ""),
        ("http://[::1]:8053/", ""),
        ("http://127.0.0.1:8054", HERE),
        ("https://dns.example.org", HERE),
    ],
)
def test_the_server_here_that_a_kubeconfig_passes_over_is_named(
    tmp_path: Path, server: str, passed_over: str
) -> None:
    file = kubeconfig(tmp_path / "k")
    file.write_text(file.read_text().replace("https://dns.example.org:8053/", server))
    found = find("", {"KUBECONFIG": str(file)}, [published(tmp_path / "data")])
    assert (found.url, found.is_unsure, found.passed_over) == (server.rstrip("/"), True, passed_over)


def test_a_data_folder_of_another_user_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = published(tmp_path / "data")

    def refused(self: Path, *_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    for looked_at in ("read_text", "stat"):  # root may look everywhere
        monkeypatch.setattr(Path, looked_at, refused)
    with pytest.raises(NoServer) as none:
        find("", {}, [folder])
    assert f"{folder} is another user's (sudo?)" in str(none.value)


def test_a_kubeconfig_says_who_one_is_and_where_commands_go(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    pem = base64.b64encode(b"PEM").decode()
    file = kubeconfig(tmp_path / "k", tokenFile="token", **{"client-key-data": pem})
    found = find("", {"KUBECONFIG": f"{tmp_path}/none.yaml:{file}".split(":")[1]}, [])
    assert (found.namespace, found.token, found.key) == ("shop", "from-a-file", b"PEM")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is no kubeconfig"),
        ("[", "is no YAML"),
        ("current-context: x", "contexts hold no 'x'"),
        ("{}", "names no current-context"),
        ("contexts: 7\ncurrent-context: x", "contexts hold no 'x'"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "k"
    file.write_text(text)
    with pytest.raises(NoServer, match="KUBECONFIG: ") as refused:
        find("", {"KUBECONFIG": str(file)}, [])
    assert expected in str(refused.value)


def test_a_login_by_plugin_is_refused_with_a_way_out(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "k", exec={"command": "aws"})
    with pytest.raises(NoServer, match="use a token"):
        find("", {"KUBECONFIG": str(file)}, [])


@pytest.mark.parametrize(
    "written",
    [
        *("", "[]", "{}", "null", '{"pid": "x", "api": 1}', '{"pid": 4194304, "api": "127.0.0.1:1"}'),
        *('{"pid": 1}', '{"pid": 1, "api": "x"}', '{"pid": 1, "api": 5}', '{"pid": 0, "api": "127.0.0.1:1"}'),
        *('{"pid": 99999999999999999999, "api": "127.0.0.1:1"}', '{"pid": -1, "api": "127.0.0.1:1"}'),
    ],
)
def test_a_folder_without_a_server_is_passed_over(tmp_path: Path, written: str) -> None:
    (tmp_path / "addresses.json").write_text(written)
    with pytest.raises(NoServer, match="svcdns serve") as refused:
        find("", {}, [tmp_path, tmp_path / "nosuch"])
    assert str(tmp_path) in str(refused.value)


@pytest.mark.parametrize("url", ["foo", "http://", "ftp://x", "http://u@h", "http://h:99999", "http://h?q"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(NoServer, match=r"--api: .* allowed: "):
        find(url, {}, [])


def test_a_server_with_tls_and_one_on_all_addresses(tmp_path: Path) -> None:
    assert find("", {}, [published(tmp_path / "a", tls=True)]).url == "https://127.0.0.1:8053"
    assert find("", {}, [published(tmp_path / "b", api="[::]:1")]).url == "http://[::1]:1"
