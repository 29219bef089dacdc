"""TSIG (RFC 8945): with keys, only who has one transfers; who signs gets signed replies.

dnspython, the client here, checks the signature of each reply by itself.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.zone
import pytest
from toolbox.builders import pod, service
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS

from svcdns.config.readers import Wrong
from svcdns.config.tsig_keys import read_keys

ZONE = "cluster.local."
SECRETS = {"one": b"0123456789abcdef0123456789abcdef", "Two.Example": b"fedcba9876543210"}
KEY_FILE = """\
# as tsig-keygen prints it
key "one" {
\talgorithm hmac-sha256;
\tsecret "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
};
key Two.Example. { secret "ZmVkY2JhOTg3NjU0MzIxMA=="; algorithm HMAC-SHA512; }; // no quotes
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(KEY_FILE)
    config = f'[dns]\ntransfer_to = ["127.0.0.0/8"]\ntsig_keys = "{file}"\n'
    with RunningServer(workers=1, config=config) as running:
        base = "/api/v1/namespaces/default"
        for number in range(3):
            name = f"web-{number}"
            assert running.post(f"{base}/services", service(name, clusterIP="None")).status == 201
        for number in range(400):
            made = pod(f"p-{number}", f"10.1.{number // 200}.{number % 200}", app=f"web-{number % 3}")
            assert running.post(f"{base}/pods", made).status == 201
        yield running


def key(name: str = "one", secret: bytes = b"", algorithm: str = "") -> dns.tsig.Key:
    usual = "hmac-sha256" if name == "one" else "hmac-sha512"
    return dns.tsig.Key(name, secret or SECRETS.get(name, b"x" * 32), algorithm or usual)


def signed(key: dns.tsig.Key, rrtype: str = "SOA", name: str = ZONE, **options: Any) -> dns.message.Message:
    question = dns.message.make_query(name, rrtype, **options)
    question.use_tsig(key)
    return question


def ask(server: RunningServer, question: dns.message.Message, tcp: bool = False) -> dns.message.Message:
    host, port = server.dns
    over = dns.query.tcp if tcp else dns.query.udp
    return over(question, host, port=port, timeout=GUARD_SECONDS)


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
@pytest.mark.parametrize("name", SECRETS)
def test_a_signed_question_has_a_signed_answer(server: RunningServer, name: str, tcp: bool) -> None:
    reply = ask(server, signed(key(name)), tcp)
    assert reply.had_tsig
    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.answer[0].rdtype == dns.rdatatype.SOA


def test_what_has_no_room_beside_the_signature_is_cut(server: RunningServer) -> None:
    for size in range(480, 520):
        reply = ask(server, signed(key(), "A", f"web-0.default.svc.{ZONE}", use_edns=0, payload=size))
        assert reply.had_tsig
        assert len(reply.wire or b"") <= max(size, 512)


def test_names_of_others_are_refused_with_a_signature(server: RunningServer) -> None:
    reply = ask(server, signed(key(), "A", "www.example.net."))
    assert reply.had_tsig
    assert reply.rcode() == dns.rcode.REFUSED


def zone_by(server: RunningServer, key: dns.tsig.Key | None) -> dns.zone.Zone:
    question = dns.message.make_query(ZONE, "AXFR")
    if key is not None:
        question.use_tsig(key)
    zone = dns.zone.Zone(ZONE, relativize=False)
    host, port = server.dns
    dns.query.inbound_xfr(host, zone, question, port=port, timeout=GUARD_SECONDS)
    return zone


@pytest.mark.parametrize("name", SECRETS)
def test_each_message_of_a_transfer_is_signed(server: RunningServer, name: str) -> None:
    zone = zone_by(server, key(name))
    found = zone.get_rdataset(f"web-1.default.svc.{ZONE}", "A")
    assert found is not None
    assert len(found) == 133


def test_a_transfer_without_a_signature_is_refused(server: RunningServer) -> None:
    with pytest.raises(dns.query.TransferError) as failed:
        zone_by(server, None)
    assert failed.value.rcode == dns.rcode.REFUSED


WRONG = {
    "another secret": (key(secret=b"another secret of some length!!"), dns.tsig.PeerBadSignature),
    "another key": (key("three"), dns.tsig.PeerBadKey),
    "another algorithm": (key(algorithm="hmac-sha512"), dns.tsig.PeerBadKey),
}


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
@pytest.mark.parametrize("rrtype", ["SOA", "AXFR"])
@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_signature_is_said(server: RunningServer, what: str, rrtype: str, tcp: bool) -> None:
    theirs, expected = WRONG[what]
    question = signed(theirs, rrtype)
    reply = raw(server, question.to_wire(), tcp)
    parsed = dns.message.from_wire(reply, keyring=False)
    assert parsed.rcode() == dns.rcode.NOTAUTH
    assert not parsed.answer
    assert parsed.tsig is not None
    error = {dns.tsig.PeerBadSignature: dns.rcode.BADSIG, dns.tsig.PeerBadKey: dns.rcode.BADKEY}[expected]
    assert (parsed.tsig[0].error, parsed.tsig[0].mac) == (error, b"")


def raw(server: RunningServer, packet: bytes, tcp: bool) -> bytes:
    import socket

    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.settimeout(GUARD_SECONDS)
        sock.connect(server.dns)
        sock.sendall(len(packet).to_bytes(2) + packet if tcp else packet)
        if not tcp:
            return sock.recv(65535)
        stream = sock.makefile("rb")
        return stream.read(int.from_bytes(stream.read(2)))


def test_out_of_time_is_said_with_our_time_and_signed(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now - 3600)
        question = signed(key())
        packet = question.to_wire()
    reply = dns.message.from_wire(raw(server, packet, False), keyring=False)
    assert reply.rcode() == dns.rcode.NOTAUTH
    assert reply.tsig is not None
    record = reply.tsig[0]
    assert record.error == dns.rcode.BADTIME
    assert abs(int.from_bytes(record.other) - now) < 300
    assert record.mac


def test_octets_of_any_kind_behind_a_signature_cost_nobody_an_answer(server: RunningServer) -> None:
    packet = signed(key()).to_wire()
    for at in range(12, len(packet)):
        cut = packet[:at]
        changed = packet[:at] + bytes((packet[at] ^ 0x55,)) + packet[at + 1 :]
        for one in (cut, changed):
            reply = dns.message.from_wire(raw(server, one, False), keyring=False, ignore_trailing=True)
            assert reply.rcode() != dns.rcode.SERVFAIL
    assert ask(server, signed(key())).had_tsig
    assert "no answer to a message" not in server.log()


MISTAKES = {
    "": "there is no key in it",
    'key "a" { algorithm hmac-md5; secret "MDEyMzQ1Njc4OWFiY2RlZg=="; };': "algorithm 'hmac-md5'; allowed:",
    'key "a" { algorithm hmac-sha256; };': "does not say an algorithm and a secret",
    'key "a" { algorithm hmac-sha256; secret "MDEy"; };': "a secret of 3 octets; allowed: 16 and more",
    'key "a" { algorithm hmac-sha256; secret "!!!"; };': "no base64",
    'key "a..b" { algorithm hmac-sha256; secret "MDEyMzQ1Njc4OWFiY2RlZg=="; };': "no domain name",
    KEY_FILE + KEY_FILE: "the key one stands there twice",
    KEY_FILE + "zone x;": "what stands behind 2 keys is none",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_the_file_is_named_and_no_secret_is_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(Wrong) as wrong:
        read_keys(tmp_path / "keys")
    assert MISTAKES[text] in str(wrong.value)
    assert str(tmp_path / "keys") in str(wrong.value)
    assert "MDEy" not in str(wrong.value)


def test_the_keys_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(KEY_FILE)
    found = read_keys(tmp_path / "keys")
    assert [(one.name, one.algorithm, one.secret) for one in found] == [
        ("one", "hmac-sha256", SECRETS["one"]),
        ("two.example", "hmac-sha512", SECRETS["Two.Example"]),
    ]
    assert "0123" not in repr(found)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Wrong, match="can't be read: No such file"):
        read_keys(tmp_path / "nothing")
