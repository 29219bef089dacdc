"""`svcdns cache flush`: what it asks of an API, and what it says when there is none or it refuses."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from toolbox.running_server import SOURCE, RunningServer
from toolbox.upstreams import free_port


def svcdns(*arguments: str, cwd: Path, token: str = "") -> tuple[int, str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SVCDNS_")}
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")
    ran = subprocess.run(
        [sys.executable, "-m", "svcdns", "cache", "flush", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        input=token,
        timeout=60,
        env={**inherited, **proxies, "PYTHONPATH": str(SOURCE)},
    )
    return ran.returncode, ran.stdout, ran.stderr


class Api(ThreadingHTTPServer):
    """Something that answers each request the same; `asked` are the requests, `url` is where it is."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.body = body
        self.asked: list[tuple[str, str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_DELETE(self) -> None:
        self.server.asked.append((self.command, self.path, self.headers["Authorization"]))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def api(status: int = 200, body: Any = None) -> Iterator[Api]:
    octets = body if isinstance(body, bytes) else json.dumps(body or {"flushed": 12}).encode()
    with Api(status, octets) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join(60)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("example.com", "/cache/example.com"),
        ("EXAMPLE.com.", "/cache/EXAMPLE.com."),
        (r"a\.b.example", "/cache/a%5C.b.example"),
        ("0/25.2.0.192.in-addr.arpa", "/cache/0%2F25.2.0.192.in-addr.arpa"),
        (".", "/cache"),
        ("", "/cache"),
    ],
)
def test_a_name_and_all_below_it_or_everything(tmp_path: Path, name: str, path: str) -> None:
    with api() as made:
        names = [name] if name else []
        said = svcdns(*names, "--server", made.url, cwd=tmp_path)
        assert said == (0, "flushed 12 answers\n", "")
        assert made.asked == [("DELETE", path, None)]
    with api(body={"flushed": 1}) as made:
        assert svcdns(*names, "--server", made.url + "/", cwd=tmp_path)[1] == "flushed 1 answer\n"


def test_a_token_goes_along(tmp_path: Path) -> None:
    with api() as made:
        assert svcdns("--server", made.url, "--token", "-", cwd=tmp_path, token="secret\n")[0] == 0
        assert made.asked == [("DELETE", "/cache", "Bearer secret")]


@pytest.mark.parametrize("name", ["@", "a..b", "x" * 64])
def test_a_bad_name_is_a_mistake(tmp_path: Path, name: str) -> None:
    with api() as made:
        code, out, err = svcdns(name, "--server", made.url, cwd=tmp_path)
        assert (code, out, made.asked) == (2, "", [])
    assert err.startswith("svcdns: ") and err.count("\n") == 1
    assert "is no domain name" in err and "; allowed: such as example.com" in err


def test_an_empty_name_is_a_mistake(tmp_path: Path) -> None:
    code, _, err = svcdns("", cwd=tmp_path)
    assert (code, "'' is no domain name" in err) == (2, True)


def refused(cwd: Path, *arguments: str) -> str:
    code, out, err = svcdns(*arguments, cwd=cwd)
    assert (code, out) == (1, "")
    assert err.startswith("svcdns: ") and err.count("\n") == 1
    return err.removeprefix("svcdns: ").strip()


def test_nobody_is_there(tmp_path: Path) -> None:
    (tmp_path / "svcdns.toml").write_text(f'[api]\nlisten = "127.0.0.1:{free_port()}"\n')
    text = "no server runs on {}; allowed: --data or --config of one that does"
    with_file = ("--config", "svcdns.toml")
    assert refused(tmp_path, *with_file) == text.format(tmp_path / "svcdns-data")
    assert refused(tmp_path, *with_file, "--data", "nosuch") == text.format(tmp_path / "nosuch")
    url = f"http://127.0.0.1:{free_port()}"
    assert refused(tmp_path, "--server", url) == f"{url} can't be reached: connection refused"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (503, {"message": "the cache can't be flushed: why"}, "the cache can't be flushed: why"),
        (401, {"message": "Unauthorized"}, "Unauthorized; allowed: --token or --certs of an administrator"),
        (200, b"", "the server answered with HTTP status 200 and nothing that says why"),
        (200, b"[]", "the server answered with HTTP status 200 and nothing that says why"),
        (200, b'{"flushed": "many"}', "the server answered with HTTP status 200 and nothing that says why"),
        (502, b"x" * 100_000, "the server answered with HTTP status 502 and nothing that says why"),
    ],
)
def test_what_else_may_come_back(tmp_path: Path, status: int, body: Any, expected: str) -> None:
    with api(status, body) as made:
        assert refused(tmp_path, "--server", made.url) == expected


def test_a_server_that_forwards_nothing(tmp_path: Path) -> None:
    with RunningServer(workers=1, config="[forward]\nupstreams = []\n") as server:
        text = "the cache can't be flushed: nothing is forwarded, as upstreams in [forward] is empty"
        assert refused(tmp_path, "--data", str(server.data)) == text
