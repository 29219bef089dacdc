"""What commands write: results on stdout, messages on stderr, nothing that does something to a terminal."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli.in_process import svcdns
from cli.test_help import commands
from rich.cells import cell_len
from toolbox.running_server import PYTHONPATH, RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.cli import outcome
from svcdns.cli.get import _lines

Run = Callable[..., subprocess.CompletedProcess[str]]
HOSTILE = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202eturned\u200b\r\n\x7fx"
"""Colours, a window's title, a cleared screen, writing turned around, a new line."""
WIDE = "\u540d\u524d e\u0301 \U0001f600"
NAME = "hostile.default.svc.cluster.local"
PEOPLES = (
    ["get"],
    ["get", "pods", "-o", "wide"],
    ["get", "events", "-o", "wide"],
    ["get", "pods", "-o", "name"],
    ["get", "pod", "hostile-1", "-o", "yaml"],
    ["get", "pod", "hostile-1", "-o", "json"],
    ["why", "hostile"],
    ["why", "hostile", "-o", "json"],
    ["why", HOSTILE],
    ["status"],
    ["status", "-o", "json"],
    ["query", NAME],
    ["unready", "hostile-1", "--because", HOSTILE + WIDE],
    ["delete", "pod", HOSTILE],
    ["get", HOSTILE],
    ["get", "service", HOSTILE],
    ["get", "-l", HOSTILE],
    ["query", HOSTILE],
    [HOSTILE],
    ["add", "--" + HOSTILE],
)
"""Commands with what is hostile in objects, or in what is typed."""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as running:
        condition = {"type": "Ready", "status": "False", "reason": "X", "message": HOSTILE + WIDE}
        metadata = {"name": "hostile-1", "labels": {"app": "hostile"}, "annotations": {"note": HOSTILE}}
        status = {"podIP": "10.5.0.1", "conditions": [condition]}
        for plural, obj in (
            ("pods", {"metadata": metadata, "status": status}),
            (
                "services",
                {
                    "metadata": {"name": "hostile"},
                    "spec": {"clusterIP": "None", "selector": {"app": "hostile"}},
                },
            ),
        ):
            assert running.post(f"/api/v1/namespaces/default/{plural}", obj).status == 201
        events = "/api/v1/namespaces/default/events"
        wait_for(lambda: "turned" in running.get(events).text, "an Event with the Pod's message")
        yield running


@pytest.fixture
def run(server: RunningServer, tmp_path: Path) -> Run:
    def call(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        return svcdns(*arguments, cwd=tmp_path, SVCDNS_DATA=str(server.data), **more)

    return call


def environ(server: RunningServer, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": PYTHONPATH, "SVCDNS_DATA": str(server.data), **more}


def on_terminal(command: list[str], env: dict[str, str], cwd: Path) -> bytes:
    """Return all octets that a command writes to a terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=cwd) as running:
        os.close(slave)
        written = b""
        try:
            while octets := os.read(master, 65536):
                written += octets
        except OSError:  # EIO: the other end is closed
            pass
        running.wait(GUARD_SECONDS)
    os.close(master)
    return written


@pytest.mark.parametrize("columns", ["80", "40", "1"])
def test_nothing_of_an_object_or_a_command_line_reaches_a_terminal_raw(run: Run, columns: str) -> None:
    for command in PEOPLES:
        ran = run(*command, COLUMNS=columns)
        assert ran.returncode in (0, 1, 2), command
        for line in (ran.stdout + ran.stderr).splitlines():
            assert line.isprintable(), (command, line)
        assert all(line.startswith("svcdns: ") for line in ran.stderr.splitlines()), command


def test_not_on_a_real_terminal_either(server: RunningServer, tmp_path: Path) -> None:
    for command in (["why", "hostile"], ["get", "pods", "-o", "wide"], ["get", "service", HOSTILE]):
        said = on_terminal([sys.executable, "-m", "svcdns", *command], environ(server), tmp_path)
        assert said.strip()
        assert b"\x1b" not in said, command
        assert all(line.isprintable() for line in said.decode().splitlines()), command


@pytest.mark.parametrize("more", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_none_are_wanted(
    server: RunningServer, tmp_path: Path, more: dict[str, str]
) -> None:
    env = environ(server, **more)
    said = on_terminal([sys.executable, "-m", "svcdns", "why", "--help"], env, tmp_path)
    assert b"Usage" in said
    assert b"\x1b[3" not in said, "foreground colours"
    if "TERM" in more:
        assert b"\x1b" not in said


@pytest.mark.parametrize("columns", [80, 40])
def test_help_keeps_to_the_width(run: Run, columns: int) -> None:
    for path in commands():
        ran = run(*path, "--help", COLUMNS=str(columns))
        assert (ran.returncode, ran.stderr) == (0, "")
        assert all(cell_len(line) <= columns for line in ran.stdout.splitlines()), path


def test_what_people_read_fits_80_columns(run: Run) -> None:
    for command in (["get"], ["get", "pods"], ["status"], ["get", "namespaces"]):
        lines = run(*command).stdout.splitlines()
        assert all(len(line) <= 80 for line in lines if not line.startswith("data")), command


def test_values_for_scripts_are_whole(run: Run) -> None:
    pod = json.loads(run("get", "pod", "hostile-1", "-o", "json").stdout)
    assert pod["metadata"]["annotations"]["note"] == HOSTILE
    assert yaml.safe_load(run("get", "pod", "hostile-1", "-o", "yaml").stdout)["kind"] == "Pod"
    listed = json.loads(run("get", "pods", "-A", "-o", "json").stdout)
    assert (listed["kind"], [one["kind"] for one in listed["items"]]) == ("List", ["Pod"])
    assert yaml.safe_load(run("get", "pods", "-o", "yaml").stdout)["items"] == listed["items"]
    assert json.loads(run("get", "nodes", "-o", "json").stdout)["items"] == []
    assert run("get", "nodes", "-o", "name").stdout == ""
    assert json.loads(run("why", "hostile", "-o", "json").stdout)["answers"] == []
    for name in run("get", "endpointslices", "-o", "name").stdout.split():
        kind, _, called = name.partition("/")
        assert run("get", kind, called).returncode == 0


def test_columns_are_as_wide_as_a_terminal_shows_them() -> None:
    columns = [{"name": "Name"}, {"name": "Note"}, {"name": "Age"}]
    table = {
        "columnDefinitions": columns,
        "rows": [
            {"cells": ["a", text, "5s"], "object": {}} for text in (WIDE, "plain", "e\u0301" * 9, "\x1b[1m")
        ],
    }
    lines = list(_lines(table, is_wide=False, of_all=False))
    ages = {
        cell_len(line.rpartition(word)[0]) for line, word in zip(lines, ["AGE"] + ["5s"] * 4, strict=True)
    }
    assert len(ages) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web-1 \u540d\u524d", "web-1 \u540d\u524d"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\u202e", r"\u202e"),
        ("\udcff", r"\xff"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_what_is_not_printable_is_shown_as_an_escape(text: str, expected: str) -> None:
    assert outcome.plain(text) == expected
    assert outcome.plain(expected) == expected


# How commands end


def test_exit_codes(run: Run) -> None:
    for code, command in (
        (0, ["get"]),
        (0, ["status"]),
        (0, ["get", "nodes"]),
        (0, ["add", "coded", "10.5.0.9"]),
        (0, ["why", "coded"]),
        (0, ["query", "coded.default.svc.cluster.local"]),
        (0, ["remove", "coded"]),
        (1, ["remove", "coded"]),
        (1, ["why", "coded"]),
        (1, ["query", "coded.default.svc.cluster.local"]),
        (1, ["get", "service", "coded"]),
        (1, ["delete", "service", "coded"]),
        (2, ["get", "cods"]),
        (2, ["add", "Coded", "10.5.0.9"]),
        (2, ["ready", "coded"]),
        (2, ["why"]),
        (2, ["nosuch"]),
    ):
        ran = run(*command)
        assert ran.returncode == code, command
        assert bool(ran.stderr) == (
            code == 2 or (command[0] != "why" and code == 1) or command[1:] == ["nodes"]
        ), command


@pytest.mark.parametrize(
    "command", ["get pods -A -o json", "get events -A -o yaml", "status", "--help", "kubeconfig"]
)
def test_a_reader_that_goes_away_is_not_worth_a_word(
    server: RunningServer, tmp_path: Path, command: str
) -> None:
    script = f"{sys.executable} -m svcdns {command} | true; echo ${{PIPESTATUS[0]}}"
    env = environ(server)
    done = subprocess.run(
        ["bash", "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=GUARD_SECONDS
    )
    assert done.stderr == ""
    assert done.stdout.strip() in ("141", "0"), "0 where it was read before it went"


def test_a_full_disk_is_one_line(server: RunningServer, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "svcdns", "get", "services"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command,
            env=environ(server),
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "svcdns: the result can't be written: no space left on device\n"


def test_ctrl_c_ends_a_watch_without_a_word(server: RunningServer, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "svcdns", "get", "services", "-w", "-o", "name"]
    watching = subprocess.Popen(
        command, env=environ(server), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    assert watching.stdout.readline() == "service/hostile\n"
    created = {"metadata": {"name": "watched"}, "spec": {"clusterIP": "None"}}
    assert server.post("/api/v1/namespaces/default/services", created).status == 201
    assert watching.stdout.readline() == "service/watched\n", "what was listed is not said again"
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=GUARD_SECONDS)
    assert (watching.returncode, err.strip()) == (130, "")
    assert server.delete("/api/v1/namespaces/default/services/watched").status == 200


def test_a_watch_as_json_is_one_document_after_the_other(server: RunningServer, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "svcdns", "get", "service", "hostile", "-w", "-o", "json"]
    watching = subprocess.Popen(
        command, env=environ(server), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None

    def document() -> Any:
        lines = iter(watching.stdout.readline, "}\n")  # type: ignore[union-attr]
        return json.loads("".join([*lines, "}"]))

    assert document()["metadata"]["name"] == "hostile"
    server.patch("/api/v1/namespaces/default/services/hostile", {"metadata": {"labels": {"now": "here"}}})
    changed = document()
    assert (changed["kind"], changed["metadata"]["labels"]) == ("Service", {"now": "here"})
    watching.send_signal(signal.SIGINT)
    assert watching.communicate(timeout=GUARD_SECONDS)[1].strip() == ""
