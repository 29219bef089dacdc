"""Statistics: what is asked most, in spans that pass."""

from tap.recording import question, recorded, reply_to

from svcdns.tap.statistics import Statistics

PACKET = question("web.default.svc.cluster.local.")
FOUND = recorded(PACKET, reply_to(PACKET), took=1_000_000)
MISSING = recorded(question("no.example."), reply_to(question("no.example."), "NXDOMAIN"), ("192.0.2.8", 1))


def test_names_clients_and_missing_names_are_counted() -> None:
    statistics = Statistics()
    statistics.add([FOUND, FOUND, MISSING], 100.0)
    minute = statistics.shown(100.0)["1m"]
    assert minute["questions"] == 3
    assert minute["names"][0] == {
        "name": "web.default.svc.cluster.local.",
        "count": 2,
        "error": 0,
        "failed": 0,
        "seconds": 0.001,
    }
    assert [one["name"] for one in minute["clients"]] == ["192.0.2.7", "192.0.2.8"]
    assert [one["name"] for one in minute["nxdomain"]] == ["no.example."]
    assert minute["rcodes"] == {"NOERROR": 2, "NXDOMAIN": 1}
    assert 0.001 <= minute["durations"]["own"]["p99"] <= 0.0011


def test_a_record_counts_for_as_many_as_it_stands_for() -> None:
    statistics = Statistics(16)
    statistics.add([FOUND], 1.0)
    assert statistics.shown(1.0)["1m"]["names"][0]["count"] == 16


def test_what_is_long_ago_is_forgotten_span_by_span() -> None:
    statistics = Statistics()
    statistics.add([FOUND], 0.0)
    assert {span: one["questions"] for span, one in statistics.shown(90.0).items()} == {
        "1m": 0,
        "5m": 1,
        "60m": 1,
    }
    assert {span: one["questions"] for span, one in statistics.shown(4000.0).items()} == {
        "1m": 0,
        "5m": 0,
        "60m": 0,
    }


def test_failures_and_times_are_told_of_each_name_and_client() -> None:
    failing = recorded(PACKET, reply_to(PACKET, "SERVFAIL"), took=3_000_000)
    statistics = Statistics(2)
    statistics.add([FOUND, failing], 1.0)
    for table in ("names", "clients", "namespaces"):
        (row,) = statistics.shown(1.0)["1m"][table]
        assert (row["count"], row["failed"], row["seconds"]) == (4, 2, 0.002)


def test_names_that_exist_count_for_their_namespace() -> None:
    packets = [question(name) for name in ("a.shop.svc.cluster.local.", "b.shop.svc.cluster.local.", "shop.")]
    leftover = question("www.example.com.svc.cluster.local.")
    statistics = Statistics()
    statistics.add([recorded(one, reply_to(one)) for one in packets], 1.0)
    statistics.add([recorded(leftover, reply_to(leftover, "NXDOMAIN"))], 1.0)
    found = statistics.shown(1.0)["1m"]["namespaces"]
    assert [(one["name"], one["count"]) for one in found] == [("shop", 2)]
