"""Which records are meant by the words of include, exclude and the API."""

import pytest
from tap.recording import question, recorded, reply_to

from svcdns.config.query_words import query_word
from svcdns.config.readers import Wrong
from svcdns.tap.selection import Selection, every

PACKET = question("web.shop.svc.cluster.local.", "AAAA")
RECORD = recorded(PACKET, reply_to(PACKET), ("::ffff:10.1.2.3", 53, 0, 0), took=50_000_000)


@pytest.mark.parametrize(
    "word",
    [
        *("noerror", "NODATA", "own", "type:aaaa", "slow:50ms", "slow:0.05s", "slow:10us"),
        *("name:shop.svc.cluster.local", "name:*.cluster.local.", "name:.", "client:10.0.0.0/8"),
        "client:10.1.2.3",
    ],
)
def test_words_that_mean_it(word: str) -> None:
    assert every([query_word(word)])(RECORD)
    assert not Selection((), (word,), 1).wants(RECORD)


@pytest.mark.parametrize(
    "word",
    [
        *("nxdomain", "cache", "type:A", "slow:51ms", "name:hop.svc.cluster.local", "client:192.0.2.0/24"),
        "client:fd00::/8",
    ],
)
def test_words_that_do_not(word: str) -> None:
    assert not every([query_word(word)])(RECORD)
    assert not Selection((word,), (), 1).wants(RECORD)
    assert Selection((word, "own"), (), 1).wants(RECORD), "one of include is enough"


@pytest.mark.parametrize(
    "word",
    ["", "foo", "slow:", "slow:5", "slow:-1s", "name:", "client:x", "client:10.1.2.3/8", "type:", "rcode:a"],
)
def test_what_is_no_word_is_refused(word: str) -> None:
    with pytest.raises(Wrong):
        query_word(word)


def test_one_of_so_many_is_wanted_and_what_is_recorded_as_such_counts() -> None:
    tenth = Selection((), (), 10)
    assert 50 < sum(tenth.wants(RECORD) for _ in range(1000)) < 170
    assert all(tenth.wants(RECORD._replace(sample=16)) for _ in range(50))
