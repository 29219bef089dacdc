"""Quantities, such as the `500m` of a CPU or the `1Gi` of memory, read and written as Kubernetes does.

What k8s.io/apimachinery/pkg/api/resource parses is taken, and comes out as Go's encoder would write it:
`1.5` is `1500m`, `0.5Gi` is `512Mi`, a number is a text. Two things are ours: Kubernetes' reader computes 10
to the power of any exponent that it is given, this one only to the power of 1000; and its writer loses the
suffix of what is 1000E or more.
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import functools
import re
from decimal import ROUND_UP, Context, Decimal

FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
NUMERIC = "unable to parse numeric part of quantity"
SUFFIX = "unable to parse quantity's suffix"

_LONGEST = 128
_LARGEST_EXPONENT = 1000
_PARTS = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {0: "", **{exponent: suffix for suffix, exponent in _BINARY.items()}}
_INT64 = 2**63 - 1
_EXACT = Context(prec=3000, Emax=10**6, Emin=-(10**6))
_DIGITS_OF_INT64 = 18


@functools.lru_cache(4096)
def canonical(text: str) -> str:
    """Return a quantity as Kubernetes writes it. Raises ValueError with Kubernetes' words."""
    text = text.strip()
    if text == "0":
        return text
    parts = _PARTS.fullmatch(text) if 0 < len(text) <= _LONGEST else None
    if parts is None:
        raise ValueError(FORMAT)
    sign, whole, fraction, suffix = parts[1], parts[2].lstrip("0"), parts[3] or "", parts[4]
    no_digits = not (parts[2] or fraction)
    return _written(text, sign, whole or "0", fraction, suffix, no_digits=no_digits)


def amount(text: str) -> Decimal:
    """Return the value of a quantity that `canonical` has accepted."""
    parts = _PARTS.fullmatch(text.strip())
    assert parts is not None, text
    base, exponent, _ = _meaning(parts[4])
    number = Decimal(f"{parts[1]}{parts[2] or '0'}.{parts[3] or '0'}")
    return _scaled(number, base, exponent)


def _meaning(suffix: str) -> tuple[int, int, bool]:
    """Return base, exponent, and whether the number is written with an exponent."""
    if suffix in _DECIMAL:
        return 10, _DECIMAL[suffix], False
    if suffix in _BINARY:
        return 2, _BINARY[suffix], False
    if re.fullmatch("[eE][+-]?[0-9]+", suffix) and abs(int(suffix[1:])) <= _LARGEST_EXPONENT:
        return 10, int(suffix[1:]), True
    raise ValueError(SUFFIX)


def _scaled(number: Decimal, base: int, exponent: int) -> Decimal:
    return _EXACT.multiply(number, Decimal(2**exponent)) if base == 2 else number.scaleb(exponent, _EXACT)


def _written(text: str, sign: str, whole: str, fraction: str, suffix: str, *, no_digits: bool) -> str:
    base, exponent, is_exponent = _meaning(suffix)
    if no_digits and (exponent >= 50 if base == 2 else exponent < -9):
        raise ValueError(NUMERIC)  # `Ki` alone is 0 to Kubernetes, `Pi` is a mistake
    if _is_canonical(base, exponent, whole, fraction):
        return text
    value = _scaled(Decimal(f"{whole}.{fraction or '0'}"), base, exponent)
    if not value:
        return "0"
    # What is too small is rounded up to a nano: who wants a little gets a little.
    value = value.quantize(Decimal("1e-9"), ROUND_UP, _EXACT)
    if base == 2:
        value = min(value, Decimal(_INT64))
    minus = "-" if sign == "-" else ""
    if base == 2 and value >= 1024 and value == value.to_integral_value():
        return minus + _in_powers(int(value), 1024, 10, _BINARY_SUFFIX)
    return minus + _in_thousands(value, is_exponent)


def _is_canonical(base: int, exponent: int, whole: str, fraction: str) -> bool:
    """Whether Go keeps the text as it was given: small numbers that are written as shortly as can be."""
    digits = whole + fraction
    if base == 2:
        room = 15 - len(whole) - exponent * 3 // 10 - 1
        return not fraction and room >= 0 and int(whole) & 7 != 0
    scale = exponent - len(fraction)
    if len(digits) > _DIGITS_OF_INT64 or scale < -9:
        return False
    return scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0"


def _in_thousands(value: Decimal, is_exponent: bool) -> str:
    """Return digits and a suffix (or an exponent) for the largest power of 1000 that leaves an integer."""
    exponent = -9
    number = int(value.scaleb(9, _EXACT))
    while number % 1000 == 0 and (is_exponent or exponent < 18):
        number, exponent = number // 1000, exponent + 3
    if is_exponent:
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL_SUFFIX[exponent]}"


def _in_powers(number: int, base: int, step: int, suffixes: dict[int, str]) -> str:
    exponent = 0
    while number % base == 0 and exponent + step in suffixes:
        number, exponent = number // base, exponent + step
    return f"{number}{suffixes[exponent]}"
