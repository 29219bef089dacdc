"""What a scalar of YAML stands for: go-yaml's reading, which is Kubernetes' (sigs.k8s.io/yaml, goyaml.v2).

A text without quotes or a tag may be a number, a boolean or nothing (null).  Nothing is of base 60, so
`10:30` is a text; `0777`, `0o17`, `0x1F`, `0b11` and `1_000` are numbers; `yes`, `on` and `y` are true; a
date is a text.  The value is that of the JSON which Kubernetes makes of it: 1e3 is the integer 1000.

Integers have 64 bits, as int64 or uint64.  What has more digits is read as a float, and as a text where that
would be infinite.  So no number of any length is ever computed with: reading takes linear time.
https://github.com/yaml/go-yaml/blob/v2/resolve.go
"""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Callable
from datetime import date
from typing import Any

TAG = "tag:yaml.org,2002:"
PLAIN = "plain"
"""The tag of a scalar that has neither quotes nor a tag."""

_TRUE = ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")
_FALSE = ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(_TRUE, True),
    **dict.fromkeys(_FALSE, False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<binary>[01]+)|0[oO]?(?P<octal>[0-7]+)"
    r"|(?P<decimal>0|[1-9][0-9]*))",
    re.ASCII,
)
_BASES = {"hex": 16, "binary": 2, "octal": 8, "decimal": 10}
_SIGN_INSIDE = re.compile(r"0b(?P<sign>[-+])(?P<binary>[01]+)", re.ASCII)
"""0b-11 is -3 to go-yaml."""
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_POINT_FIRST = re.compile(r"\.[0-9](_?[0-9])*([eE][-+]?[0-9](_?[0-9])*)?", re.ASCII)
_TIME = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)"
    r"(?:[Tt ]\d\d?:\d\d?:\d\d?(?:\.\d+)?(?:Z|[-+]\d\d:\d\d)?)?",
    re.ASCII,
)
_INT64, _UINT64 = range(-(2**63), 2**63), range(2**64)
_EXPONENT_FROM = 1e21
"""JSON that Go writes has whole numbers without an exponent up to here."""


class DoesNotFit(ValueError):
    """A text is not what its tag says."""


def value_of(text: str, tag: str) -> Any:
    """Return the value of a scalar; `tag` is PLAIN, or the tag that it has.

    Raises DoesNotFit, and KeyError for a tag that is not known here.
    """
    found = _READERS[tag](text)
    return _as_in_json(found) if isinstance(found, float) else found


def key_of(text: str, tag: str) -> str:
    """Return the key of a JSON object that a scalar comes to.

    Raises DoesNotFit, also for null and what needs all bits of a uint64, and KeyError as value_of does.
    """
    found = _READERS[tag](text)
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, float):
        return _float_as_key(found)
    if found is None or (isinstance(found, int) and found not in _INT64):
        raise DoesNotFit
    return str(found)


def _resolved(text: str) -> Any:
    """Return the value of a plain text; a float, even a whole one, is what was written as a float."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first == ".":
        return _float(text.replace("_", ""), text) if _POINT_FIRST.fullmatch(text) else text
    if first not in "+-0123456789":
        return text
    digits = text.replace("_", "")
    number = _integer(digits)
    if number is not None:
        return number
    return _float(digits, text) if _FLOAT.fullmatch(digits) else text


def _integer(text: str) -> int | None:
    """Return an integer of 64 bits; None for all else."""
    found = _INTEGER.fullmatch(text) or _SIGN_INSIDE.fullmatch(text)
    if found is None:
        return None
    written = found.groupdict()
    sign = written.pop("sign")
    name, digits = next((name, digits) for name, digits in written.items() if digits is not None)
    digits = digits.lstrip("0") or "0"
    if len(digits) > 64:  # more than 64 bits in any base
        return None
    number = int(sign + digits, _BASES[name])
    return number if number in _INT64 or (not sign and number in _UINT64) else None


def _float(digits: str, text: str) -> Any:
    """Return a float; the text where it is too large for one."""
    number = float(digits)
    return text if math.isinf(number) else number


def _as_in_json(number: float) -> Any:
    whole = math.isfinite(number) and number == int(number) and abs(number) < _EXPONENT_FROM
    return int(number) if whole else number


def _float_as_key(number: float) -> str:
    """Return Go's shortest text of a float of 32 bits: an exponent from a million on, and below 0.0001."""
    try:
        stored = struct.pack("f", number)
    except OverflowError:
        stored = struct.pack("f", math.copysign(math.inf, number))
    (single,) = struct.unpack("f", stored)
    if not math.isfinite(single):
        return ".nan" if math.isnan(single) else ".inf" if single > 0 else "-.inf"
    texts = (f"{single:.{digits}e}" for digits in range(9))
    mantissa, exponent = next(text for text in texts if _packs_as(text, stored)).split("e")
    if not -4 <= int(exponent) < 6:
        return f"{mantissa}e{int(exponent):+03}"
    decimals = len(mantissa.strip("-").replace(".", "")) - 1 - int(exponent)
    return f"{float(f'{mantissa}e{exponent}'):.{max(decimals, 0)}f}"


def _packs_as(text: str, stored: bytes) -> bool:
    try:
        return struct.pack("f", float(text)) == stored
    except OverflowError:  # rounded up behind the largest
        return False


def _integer_only(text: str) -> Any:
    found = _resolved(text)
    if isinstance(found, bool) or not isinstance(found, int):
        raise DoesNotFit
    return found


def _number_only(text: str) -> float:
    found = _resolved(text)
    if isinstance(found, float) or (type(found) is int and found in _INT64):
        return float(found)
    raise DoesNotFit


def _boolean_only(text: str) -> Any:
    found = _resolved(text)
    if not isinstance(found, bool):
        raise DoesNotFit
    return found


def _null_only(text: str) -> None:
    if _resolved(text) is not None:
        raise DoesNotFit


def _time_only(text: str) -> str:
    found = _TIME.fullmatch(text)
    try:
        date(*map(int, found.groups()))  # type: ignore[union-attr]  # None: no time
    except (AttributeError, ValueError):
        raise DoesNotFit from None
    return text


def _binary(text: str) -> str:
    try:
        return base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True).decode()
    except ValueError:
        raise DoesNotFit from None


_READERS: dict[str, Callable[[str], Any]] = {
    PLAIN: _resolved,
    TAG + "str": str,
    TAG + "int": _integer_only,
    TAG + "float": _number_only,
    TAG + "bool": _boolean_only,
    TAG + "null": _null_only,
    TAG + "timestamp": _time_only,
    TAG + "binary": _binary,
}
