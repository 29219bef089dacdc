"""Lines of the query log, as programs and people read them."""

import json
import re

import pytest
from tap.recording import question, recorded, reply_to

from svcdns.tap.lines import coredns_line, json_line, showing, text_line

PACKET = question("web.default.svc.cluster.local.", use_edns=0, payload=1400, want_dnssec=True)
RECORD = recorded(PACKET, reply_to(PACKET, answers=["10.96.0.1"]), ("2001:db8::7", 5353, 0, 0), took=61_000)


def test_json_says_what_is_known() -> None:
    said = json.loads(json_line(RECORD))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", said.pop("ts"))
    assert said == {
        "client_ip": "2001:db8::7",
        "client_port": 5353,
        "proto": "udp",
        "qname": "web.default.svc.cluster.local.",
        "qtype": "A",
        "rcode": "NOERROR",
        "answers": 1,
        "source": "own",
        "duration_seconds": 0.000061,
        "request_bytes": len(RECORD.query),
        "response_bytes": len(RECORD.reply),
    }
    assert json.loads(json_line(RECORD._replace(sample=16)))["sample"] == 16


def test_the_line_of_coredns() -> None:
    pattern = (
        r'\[INFO\] \[2001:db8::7\]:5353 - \d+ "A IN web\.default\.svc\.cluster\.local\. udp \d+ true 1400" '
        r"NOERROR qr,aa,rd \d+ 0\.000061000s"
    )
    assert re.fullmatch(pattern, coredns_line(RECORD))


@pytest.mark.parametrize(
    ("clients", "client", "shown", "port"),
    [
        ("full", "192.0.2.7", "192.0.2.7", 5353),
        ("net", "192.0.2.7", "192.0.2.0/24", 0),
        ("net", "2001:db8::7", "2001:db8::/64", 0),
        ("none", "192.0.2.7", "", 0),
    ],
)
def test_clients_are_shown_in_full_by_network_or_not_at_all(
    clients: str, client: str, shown: str, port: int
) -> None:
    record = showing(clients)(RECORD._replace(client=client))
    assert (record.client, record.port) == (shown, port)
    if clients != "full":
        for line in (json_line(record), text_line(record), coredns_line(record)):
            assert client not in line
            assert "5353" not in line
