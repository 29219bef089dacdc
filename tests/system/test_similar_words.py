"""Which word was meant."""

from svcdns.system.similar_words import closest


def test_the_word_that_is_most_alike_was_meant() -> None:
    assert closest("worksers", ["listen", "worker", "workers"]) == "workers"


def test_nothing_was_meant_where_no_word_is_alike_enough() -> None:
    assert closest("zones", ["listen", "workers"]) is None
    assert closest("", []) is None
    assert closest("worker", ["workers"], 0.99) is None
