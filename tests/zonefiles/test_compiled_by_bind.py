"""Whatever zone BIND writes as text, in either style, is the zone that BIND has read."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from toolbox.served_zones import records

HEAD = "$TTL 300\n@ SOA ns hostmaster 1 7200 1800 86400 60\n@ NS ns\nns A 192.0.2.1\n"

OCTETS = st.binary(max_size=40)
LABEL = st.one_of(
    st.sampled_from(
        [b"a", b"WWW", b"*", b"_tcp", b"a.b", b"\\", b'"', b"@", b"$x", b"1h", b"IN", b"\0", b"\xff;("]
    ),
    st.binary(min_size=1, max_size=12),
)
NAME = st.lists(LABEL, max_size=4).map(
    lambda labels: b"".join(bytes((len(each),)) + each for each in labels) + b"\0"
)
TEXT = st.binary(max_size=60).map(lambda octets: bytes((len(octets),)) + octets)
TEXTS = st.lists(TEXT, min_size=1, max_size=4).map(b"".join)


def number(octets: int, least: int = 0, most: int | None = None) -> st.SearchStrategy[bytes]:
    top = (1 << 8 * octets) - 1 if most is None else most
    return st.integers(least, top).map(lambda value: value.to_bytes(octets))


U8, U16, U32 = number(1), number(2), number(4)
SOME = st.binary(min_size=1, max_size=50)
BITMAP = st.sets(st.integers(1, 255).filter(lambda n: n not in (41,)), min_size=1, max_size=6).map(
    lambda types: (lambda bits: b"\0" + bytes((len(bits),)) + bits)(
        sum(1 << (255 - one) for one in types).to_bytes(32).rstrip(b"\0")
    )
)
"""A window of a type bitmap (RFC 4034 section 4.1.2)."""
DIGITS = st.text("0123456789", min_size=1, max_size=12).map(lambda text: bytes((len(text),)) + text.encode())
SIZE = st.sampled_from([b"\x12", b"\x33", b"\x00"])
LOCATION = st.tuples(
    st.just(b"\0"),
    SIZE,
    SIZE,
    SIZE,
    number(4, 0x80000000, 0x81000000),
    number(4, 0x80000000, 0x81000000),
    number(4, 0, 20_000_000),
)

SHAPES: dict[int, tuple[st.SearchStrategy[bytes], ...]] = {
    1: (st.binary(min_size=4, max_size=4),),
    7: (NAME,),
    8: (NAME,),
    9: (NAME,),
    12: (NAME,),
    13: (TEXT, TEXT),
    14: (NAME, NAME),
    15: (U16, NAME),
    16: (TEXTS,),
    17: (NAME, NAME),
    18: (U16, NAME),
    19: (
        st.text("0123456789", min_size=4, max_size=12).map(lambda text: bytes((len(text),)) + text.encode()),
    ),
    20: (DIGITS, DIGITS),
    21: (U16, NAME),
    22: (SOME,),
    23: (NAME,),
    25: (st.sampled_from([b"\x01\x00", b"\x02\x00"]), number(1, 1, 4), number(1, 1, 16), SOME),
    26: (U16, NAME, NAME),
    28: (st.binary(min_size=16, max_size=16),),
    29: (LOCATION.map(b"".join),),
    31: (SOME,),
    32: (SOME,),
    33: (U16, U16, U16, NAME),
    35: (U16, U16, TEXT, TEXT, st.just(b"\0"), NAME),
    36: (U16, NAME),
    37: (U16, U16, U8, SOME),
    40: (number(1, 1), U8, U8, SOME),
    43: (U16, number(1, 1, 16), st.just(b"\x02"), st.binary(min_size=32, max_size=32)),
    44: (number(1, 1, 4), st.just(b"\x01"), st.binary(min_size=20, max_size=20)),
    45: (U8, st.just(b"\x03"), U8, NAME, SOME),
    49: (SOME,),
    52: (number(1, 0, 3), number(1, 0, 1), st.just(b"\1"), st.binary(min_size=32, max_size=32)),
    53: (number(1, 0, 3), number(1, 0, 1), st.just(b"\1"), st.binary(min_size=32, max_size=32)),
    56: (TEXTS,),
    57: (st.just(b"\0\0"), U8, number(1, 1, 16), SOME),
    58: (NAME, NAME),
    60: (U16, st.just(b"\x03"), number(1, 1, 16), SOME),
    61: (SOME,),
    62: (U32, st.sampled_from([b"\0\0", b"\0\3"]), BITMAP),
    64: (
        number(2, 1),
        NAME,
        st.sampled_from([b"", b"\0\1\0\3\2h2", b"\0\3\0\2\x01\xbb", b"\0\4\0\4\xc0\0\2\1"]),
    ),
    65: (number(2, 0, 0), NAME),
    99: (TEXTS,),
    104: (U16, st.binary(min_size=8, max_size=8)),
    105: (U16, st.binary(min_size=4, max_size=4)),
    106: (U16, st.binary(min_size=8, max_size=8)),
    107: (U16, NAME),
    108: (st.binary(min_size=6, max_size=6),),
    109: (st.binary(min_size=8, max_size=8),),
    256: (U16, U16, SOME),
    257: (U8, st.just(b"\x05issue"), OCTETS),
    258: (TEXTS,),
    259: (U32, U32, U8, TEXT, OCTETS),
    260: (U8, st.just(b"\x03"), NAME),
    32768: (U16, number(1, 1, 16), st.just(b"\x02"), st.binary(min_size=32, max_size=32)),
    32769: (U16, number(1, 1, 16), st.just(b"\x02"), st.binary(min_size=32, max_size=32)),
    10: (OCTETS,),
    65280: (OCTETS,),
    65534: (OCTETS,),
}
"""RDATA by type, as its RFC has it."""


def record(rrtype: int) -> st.SearchStrategy[tuple[int, bytes]]:
    return st.tuples(st.just(rrtype), st.tuples(*SHAPES[rrtype]).map(b"".join))


RECORDS = st.lists(
    st.tuples(NAME, st.integers(0, 2**31 - 1), st.sampled_from(sorted(SHAPES)).flatmap(record)),
    min_size=20,
    max_size=60,
)


def presentation(name: bytes) -> str:
    """A name below the origin, octet by octet."""
    out, at = "", 0
    while size := name[at]:
        out += "".join(f"\\{octet:03d}" for octet in name[at + 1 : at + 1 + size]) + "."
        at += 1 + size
    return out + "example.org."


def zone_of(drawn: list[tuple[bytes, int, tuple[int, bytes]]]) -> str:
    ttls: dict[tuple[str, int], int] = {}
    lines = [HEAD]
    for owner, ttl, (rrtype, rdata) in drawn:
        name = "x." + presentation(owner)
        ttl = ttls.setdefault((name.lower(), rrtype), ttl)
        lines.append(f"{name} {ttl} TYPE{rrtype} \\# {len(rdata)} {rdata.hex()}\n")
    return "".join(lines)


@given(RECORDS)
@settings(max_examples=25, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_the_text_that_bind_writes_is_the_zone_that_it_has_read(
    need: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[bytes, int, tuple[int, bytes]]],
) -> None:
    compilezone = need("named-compilezone")
    folder = tmp_path_factory.mktemp("compiled")
    for style in ("full", "relative"):
        text = compiled(compilezone, folder, zone_of(drawn), style)
        different = sorted(records(text) ^ records(zone_of(drawn)))
        assert not different, f"{style}: {different}"


def compiled(compilezone: str, folder: Path, text: str, style: str) -> str:
    (folder / "in").write_text(text)
    checks = [
        "-i",
        "none",
        "-k",
        "ignore",
        "-m",
        "ignore",
        "-n",
        "ignore",
        "-M",
        "ignore",
        "-S",
        "ignore",
        "-r",
        "ignore",
    ]
    command = [
        compilezone,
        *checks,
        "-s",
        style,
        "-f",
        "text",
        "-F",
        "text",
        "-o",
        "out",
        "example.org",
        "in",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{text}"
    return (folder / "out").read_text()
