"""dnstap: what other programs read of it, and what happens where nobody takes it."""

import asyncio
import os
import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tap.recording import question, recorded, reply_to
from toolbox.waiting import until

from svcdns.system.background import background
from svcdns.tap.dnstap import Encoder
from svcdns.tap.frame_sender import FrameSender
from svcdns.tap.frame_streams import FINISH, READY, START, STOP, control, data

PACKET = question("web.default.svc.cluster.local.")
OWN = recorded(PACKET, reply_to(PACKET, answers=["10.96.0.1"]), took=2_000_000)
ELSEWHERE = recorded(
    question("example.org.", "AAAA"),
    reply_to(question("example.org.", "AAAA"), "NXDOMAIN", own=False),
    ("2001:db8::7", 5353, 0, 0),
    whose="",
)
MESSAGES = [one for record in (OWN, ELSEWHERE) for one in Encoder("ns-1", "svcdns x").messages(record)]


class Counted:
    def __init__(self) -> None:
        self.sent = self.lost = 0

    def sender(self, to: str) -> FrameSender:
        def sent(count: int) -> None:
            self.sent += count

        def lost(count: int) -> None:
            self.lost += count

        return FrameSender(to, sent, lost)


async def written(path: Path) -> Counted:
    counted = Counted()
    sender = counted.sender(f"file:{path}")
    for message in MESSAGES:
        sender.put(message)
    async with background(sender.run()):
        await until(lambda: counted.sent == len(MESSAGES))
    return counted


async def test_dnstap_ldns_reads_what_is_written(tmp_path: Path, need: Callable[..., str]) -> None:
    program = need("dnstap-ldns")
    await written(tmp_path / "tap")
    ran = subprocess.run([program, "-r", tmp_path / "tap", "-q"], capture_output=True, text=True, check=True)
    lines = ran.stdout.splitlines()
    assert [re.sub(r"^\S+ \S+ ", "", line) for line in lines] == [
        'AQ 192.0.2.7 UDP 47b "web.default.svc.cluster.local." IN A',
        f'AR 192.0.2.7 UDP {len(OWN.reply)}b "web.default.svc.cluster.local." IN A',
        f'CQ 2001:db8::7 UDP {len(ELSEWHERE.query)}b "example.org." IN AAAA',
        f'CR 2001:db8::7 UDP {len(ELSEWHERE.reply)}b "example.org." IN AAAA',
    ]
    detailed = subprocess.run(
        [program, "-r", tmp_path / "tap", "-y"], capture_output=True, text=True, check=True
    )
    for said in ('identity: "ns-1"', 'version: "svcdns x"', "query_port: 5353", "AUTH_RESPONSE", "10.96.0.1"):
        assert said in detailed.stdout


async def test_what_upstreams_are_asked_is_read_as_a_forwarders_queries(
    tmp_path: Path, need: Callable[..., str]
) -> None:
    program = need("dnstap-ldns")
    answered = ELSEWHERE._replace(to_upstream=True, client="192.0.2.53", port=5300, protocol="tcp")
    silent = answered._replace(client="2001:db8::53", reply=b"", protocol="udp")
    nowhere = answered._replace(client="", protocol="tcp")
    encoder = Encoder("ns-1", "svcdns x")
    messages = [one for record in (answered, silent, nowhere) for one in encoder.messages(record)]
    assert len(messages) == 5, "what has no reply is a query alone"
    sender = Counted().sender(f"file:{tmp_path / 'tap'}")
    for message in messages:
        sender.put(message)
    async with background(sender.run()):
        await until(lambda: (tmp_path / "tap").exists() and messages[-1] in (tmp_path / "tap").read_bytes())
    ran = subprocess.run([program, "-r", tmp_path / "tap", "-y"], capture_output=True, text=True, check=True)
    said = re.findall(r"(?:type|response_address|response_port|socket_protocol): \S+", ran.stdout)
    assert said[0] == "type: MESSAGE"
    assert "type: FORWARDER_QUERY" in said
    assert "type: FORWARDER_RESPONSE" in said
    assert {'response_address: "192.0.2.53"', "response_port: 5300"} <= set(said)
    assert "query_address" not in ran.stdout


@pytest.mark.parametrize(("protocol", "number"), [("udp", 1), ("tcp", 2), ("tls", 3), ("https", 4)])
def test_an_upstream_s_protocol_is_told(protocol: str, number: int) -> None:
    asked = ELSEWHERE._replace(to_upstream=True, client="192.0.2.53", protocol=protocol)
    for message in Encoder("", "").messages(asked):
        assert bytes((2 << 3, 1, 3 << 3, number, 5 << 3 | 2, 4, 192, 0, 2, 53)) in message


async def test_only_replies_where_questions_are_not_wanted() -> None:
    [only] = Encoder("", "", queries=False).messages(OWN)
    assert OWN.reply in only
    assert OWN.query not in only


async def test_a_file_that_is_there_is_moved_and_one_that_is_to_be_ended_is(tmp_path: Path) -> None:
    path = tmp_path / "tap"
    path.write_bytes(b"before")
    counted = Counted()
    sender = counted.sender(f"file:{path}")
    async with background(sender.run()):
        sender.put(b"one")
        await until(lambda: counted.sent == 1)
        assert (tmp_path / "tap.1").read_bytes() == b"before"
        sender.reopen()
        await until(lambda: (tmp_path / "tap.1").read_bytes().endswith(control(STOP)))
        sender.put(b"two")
        await until(lambda: counted.sent == 2)
    assert b"two" in path.read_bytes()


async def test_frames_that_a_full_disk_took_a_part_of_leave_a_file_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, counted, write = tmp_path / "tap", Counted(), os.write
    sender = counted.sender(f"file:{path}")
    async with background(sender.run()):
        sender.put(b"one")
        await until(lambda: counted.sent == 1)
        monkeypatch.setattr(os, "write", lambda file, octets: write(file, octets[:50]))
        sender.put(b"two" * 100)
        await until(lambda: counted.lost == 1)
        monkeypatch.undo()
        sender.put(b"three")
        await until(lambda: counted.sent == 2)
    frames = [data(b"one"), data(b"three")]
    start = control(START, b"protobuf:dnstap.Dnstap")
    assert path.read_bytes() == b"".join([start, *frames, control(STOP)])


async def test_a_file_that_takes_nothing_is_tried_again_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counted = Counted()
    sender = counted.sender("file:/dev/full")
    async with background(sender.run()):
        sender.put(b"one")
        await until(lambda: "No space left" in caplog.text)
    assert (counted.sent, counted.lost) == (0, 1)


async def _read_control(reader: asyncio.StreamReader) -> int:
    escape, octets = struct.unpack(">II", await reader.readexactly(8))
    assert escape == 0
    return int(struct.unpack_from(">I", await reader.readexactly(octets))[0])


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    [octets] = struct.unpack(">I", await reader.readexactly(4))
    return await reader.readexactly(octets) if octets else b""


class Receiver:
    """Takes frames as a program of dnstap's would, over a Unix socket."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.said: list[int] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            self.said.append(await _read_control(reader))
            writer.write(control(1, b"protobuf:dnstap.Dnstap"))
            self.said.append(await _read_control(reader))
            while frame := await _read_frame(reader):
                self.frames.append(frame)
            [octets] = struct.unpack(">I", await reader.readexactly(4))
            self.said.append(int(struct.unpack(">I", await reader.readexactly(octets))[0]))
            writer.write(control(FINISH))
            await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


async def test_frames_over_a_unix_socket_with_its_greetings(tmp_path: Path) -> None:
    receiver, counted = Receiver(), Counted()
    server = await asyncio.start_unix_server(receiver.serve, tmp_path / "socket")
    sender = counted.sender(f"unix:{tmp_path / 'socket'}")
    async with server, background(sender.run()):
        for message in MESSAGES:
            sender.put(message)
        await until(lambda: counted.sent == len(MESSAGES))
    assert receiver.frames == MESSAGES
    assert receiver.said == [READY, START, STOP]


async def test_frames_over_tcp_wait_for_who_takes_them_and_go_on_where_it_comes_back() -> None:
    receiver, counted = Receiver(), Counted()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sender = counted.sender(f"tcp:127.0.0.1:{port}")
    async with server, background(sender.run()):
        sender.put(b"one")
        await until(lambda: receiver.frames == [b"one"])
        receiver.writers[0].transport.abort()
        await until(lambda: len(receiver.writers) == 2)
        sender.put(b"two")
        await until(lambda: receiver.frames[-1] == b"two")


async def test_what_nobody_takes_is_bounded_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counted = Counted()
    sender = counted.sender(f"unix:{tmp_path / 'nobody'}")
    async with background(sender.run()):
        for _ in range(20):
            sender.put(bytes(1 << 20))
        assert counted.lost == 12 or counted.lost == 13
        await until(lambda: bool(caplog.records))
    assert counted.lost == 20


async def test_who_speaks_something_else_is_told_and_not_trusted(caplog: pytest.LogCaptureFixture) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server, counted = await asyncio.start_server(serve, "127.0.0.1", 0), Counted()
    sender = counted.sender(f"tcp:127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server, background(sender.run()):
        await until(lambda: "no Frame Streams" in caplog.text)
