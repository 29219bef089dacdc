"""The same odd replies of an upstream to svcdns, BIND and unbound as forwarders.

What BIND and unbound both use, svcdns uses in the same way; what both refuse, svcdns does not pass on.  Where
they disagree, there is no right and wrong.  REASONS has what svcdns does otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from peers.three_forwarders import CASES, Outcomes, outcomes

pytestmark = pytest.mark.alone

_LATER = "a client over UDP gets TC: it comes again over TCP, and SERVFAIL is said there"
_ONLY_CNAMES = "where a CNAME without an end is followed to its target, the DNAME above is left out"
_WITHOUT_OPT = "svcdns asks again without an OPT (docs/dns.md, P6), and then there is an answer"
_CONTRADICTION = "a CNAME beside a DNAME from which another one follows is refused; both follow the DNAME"
REASONS = {
    "tc-tcp-closed": _LATER,
    "tc-with-data-tcp-closed": _LATER,
    "tc-over-tcp-too": _LATER,
    "tc-with-data-over-tcp-too": _LATER,
    "tc-tcp-wrong-id": _LATER,
    "tc-tcp-garbage": _LATER,
    "dname-alone": _ONLY_CNAMES,
    "dname-and-cname-alone": _ONLY_CNAMES,
    "dname-of-the-zone": _ONLY_CNAMES,
    "dname-with-another-cname": _CONTRADICTION,
    "refused-on-edns-header-alone": _WITHOUT_OPT,
    "servfail-on-edns-header-alone": _WITHOUT_OPT,
    "silent-on-edns": _WITHOUT_OPT,
}


@pytest.fixture(scope="module")
def found(need: Callable[..., str]) -> Iterator[dict[str, Outcomes]]:
    need("named")
    need("unbound")
    yield outcomes()


def is_as_both(one: Outcomes) -> bool:
    """Say whether svcdns does what the others do, where these agree."""
    if one.named.is_refused and one.unbound.is_refused:
        return one.ours.is_refused
    return one.named != one.unbound or one.ours == one.named


def test_what_both_use_is_used_and_what_both_refuse_is_not_passed_on(found: dict[str, Outcomes]) -> None:
    different = {case: one for case, one in found.items() if not is_as_both(one) and case not in REASONS}
    assert different == {}


def test_what_differs_for_a_reason_still_differs(found: dict[str, Outcomes]) -> None:
    assert [case for case in REASONS if is_as_both(found[case])] == []


def test_most_replies_are_taken_alike(found: dict[str, Outcomes]) -> None:
    """That the comparison compares: neither do all refuse, nor do BIND and unbound always disagree."""
    used = [one for one in found.values() if one.named == one.unbound and not one.named.is_refused]
    refused = [one for one in found.values() if one.named.is_refused and one.unbound.is_refused]
    assert len(used) > len(CASES) // 5 and len(refused) > len(CASES) // 5
