"""Rows: what was packed comes out again, RR by RR, whatever the sizes."""

from hypothesis import given
from hypothesis import strategies as st

from svcdns.names.packed import APEX, CUT, NEGATIVE_SOA, RRset, find, pack_row, sections
from svcdns.wire.header import QUESTION_NAME

RRS = st.lists(
    st.binary(min_size=12, max_size=40).map(lambda octets: QUESTION_NAME + octets), min_size=1, max_size=6
)
ADDITIONALS = st.lists(st.binary(min_size=1, max_size=30), max_size=3)
ROWS = st.dictionaries(st.integers(0, 0xFFFF), st.tuples(RRS, ADDITIONALS), max_size=8)


def _row(sets: dict[int, tuple[list[bytes], list[bytes]]], flags: int = 0) -> bytes:
    return pack_row([RRset(rrtype, rrs, extra) for rrtype, (rrs, extra) in sets.items()], flags)


@given(ROWS, st.integers(0, 7))
def test_every_rrset_comes_out_as_it_went_in(
    sets: dict[int, tuple[list[bytes], list[bytes]]], flags: int
) -> None:
    row = _row(sets, flags)
    assert row[0] == flags
    found = {section.type: section for section in sections(row)}
    assert list(found) == sorted(sets), "types stand in order"
    for rrtype, (rrs, extra) in sets.items():
        section = found[rrtype]
        assert list(section.rrs()) == rrs
        assert section.answers == b"".join(rrs)
        assert (section.count, section.additional_count) == (len(rrs), len(extra))
        assert section.additionals == b"".join(extra)
        assert find(row, rrtype) == section


@given(ROWS, st.integers(0, 0xFFFF))
def test_a_type_that_is_not_there_is_not_found(
    sets: dict[int, tuple[list[bytes], list[bytes]]], rrtype: int
) -> None:
    assert (find(_row(sets), rrtype) is None) == (rrtype not in sets)


@given(RRS)
def test_an_rrset_can_be_cut_at_each_rr_without_parsing_it(rrs: list[bytes]) -> None:
    (section,) = sections(_row({16: (rrs, [])}))
    if section.stride:
        starts = list(range(0, len(section.answers), section.stride))
    else:
        starts = list(section.offsets)
    expected = [sum(map(len, rrs[:index])) for index in range(len(rrs))]
    assert starts == expected


def test_rrs_of_one_size_need_no_table() -> None:
    rr = QUESTION_NAME + bytes(14)
    (section,) = sections(pack_row([RRset(1, [rr] * 1000)]))
    assert (section.stride, section.offsets, section.count) == (16, (), 1000)


def test_sizes_whose_mean_is_the_first_are_no_stride() -> None:
    rrs = [QUESTION_NAME + bytes(octets) for octets in (14, 13, 15)]
    (section,) = sections(pack_row([RRset(16, rrs)]))
    assert section.stride == 0 and list(section.rrs()) == rrs


def test_a_name_without_data_is_a_row() -> None:
    assert list(sections(pack_row([]))) == []
    assert pack_row([], CUT)[0] == CUT


def test_the_negative_soa_stands_beside_the_soa() -> None:
    row = pack_row([RRset(6, [QUESTION_NAME + b"soa"]), RRset(NEGATIVE_SOA, [QUESTION_NAME + b"cut"])], APEX)
    soa, negative = find(row, 6), find(row, NEGATIVE_SOA)
    assert soa is not None and negative is not None
    assert (soa.answers, negative.answers) == (QUESTION_NAME + b"soa", QUESTION_NAME + b"cut")
