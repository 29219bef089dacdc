"""What stands in the files that the configuration names: certificates, tokens, resolv.confs.

`svcdns check` reads them, and a start before anything runs.  Standard library only: the supervisor's process
does this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from svcdns.config.readers import Wrong
from svcdns.config.sections import ApiConfig, Config, Endpoint
from svcdns.config.tsig_keys import read_keys
from svcdns.config.upstream_spec import parse
from svcdns.system.in_child import outcome


def mistakes(config: Config) -> list[str]:
    """Return what keeps the server from starting, a line each."""
    found = api_mistakes(config.api)
    if config.dns.tsig_keys is not None:
        try:
            read_keys(config.dns.tsig_keys)
        except Wrong as wrong:
            found.append(f"dns.tsig_keys: {wrong}")
    ca = config.forward.ca
    if ca is not None and (text := _no_certificates(ca)):
        found.append(f"forward.ca: {ca}: {text}")
    return found


def mistakes_found_apart(config: Config) -> list[str]:
    """Return `mistakes` as found by a process of its own: of keys that it reads, nothing is in memory here.

    Whoever forks its children has them all know what it knows.  Raises OSError where nothing can be forked.
    """
    found = outcome(lambda: "\0".join(mistakes(config)))
    return found.split("\0") if found else []


def api_mistakes(api: ApiConfig) -> list[str]:
    """Return what keeps the API from starting, a line each."""
    found = []
    files = {"tls_cert": api.tls_cert, "tls_key": api.tls_key, "client_ca": api.client_ca}
    unreadable = [
        f"api.{option}: {file}: can't be read: {why}"
        for option, file in files.items()
        if file is not None and (why := _why_unreadable(file))
    ]
    found += unreadable
    if api.tls_cert and api.tls_key and not unreadable:  # one without the other is a mistake of its own
        from .tls import TlsError, context_of

        try:
            context_of(api)
        except TlsError as wrong:
            found.append(str(wrong))
    if api.audit_log is not None and (why := _not_writable(api.audit_log)):
        allowed = "allowed: a file in a folder that svcdns may write to"
        found.append(f"api.audit_log: {api.audit_log}: {why}; {allowed}")
    if api.tokens is not None:
        from svcdns.api.auth.token_file import read
        from svcdns.api.auth.token_lines import TokenError

        try:
            wrongs = read(api.tokens)[1]
        except TokenError as unreadable:
            wrongs = [f"{unreadable}; `svcdns token create --file {api.tokens}` makes it"]
        found += [f"api.tokens: {api.tokens}: {wrong}" for wrong in wrongs]
    return found


def _why_unreadable(file: Path) -> str:
    """Return why a file can't be read, "" where it can."""
    try:
        with file.open("rb"):
            return ""
    except OSError as wrong:
        return (wrong.strerror or str(wrong)).lower()


def _not_writable(file: Path) -> str:
    """Return why nothing can be appended to a file, "" where it can (it is made where it is missing)."""
    try:
        with file.open("a"):
            return ""
    except OSError as wrong:
        return f"can't be written: {(wrong.strerror or str(wrong)).lower()}"


def warnings(api: ApiConfig) -> list[str]:
    """Return what will disturb clients, a line each; only where there are no mistakes."""
    if api.tls_cert is None:
        return []
    from . import tls

    return tls.warnings(api)


def _no_certificates(file: Path) -> str:
    """Return why a file is none of certificates to trust, "" where it is one."""
    import ssl  # here: only who forwards over TLS pays for it

    from .tls import pem_text

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem_text(file))
    except (ssl.SSLError, ValueError):
        return "holds no certificates in PEM format; allowed: one or more of them, or no forward.ca at all"
    except OSError as failed:
        return f"can't be read: {(failed.strerror or str(failed)).lower()}"
    return ""


def resolv_conf_warnings(config: Config) -> list[str]:
    """Return what of resolv.confs gives no upstreams, a line each; a running forwarder logs that itself."""
    forward = config.forward
    lists = {"forward.upstreams": forward.upstreams}
    lists |= {
        f"forward.zone: zone {number}: upstreams": one.upstreams for number, one in enumerate(forward.zone, 1)
    }
    return [
        line
        for option, upstreams in lists.items()
        for line in _of_files(option, upstreams, config.dns.listen)
    ]


def _of_files(option: str, upstreams: Sequence[str], listening: Sequence[Endpoint]) -> Iterator[str]:
    from svcdns.forward.system_nameservers import UNTIL, listed_in

    specs = [parse(text) for text in upstreams]
    paths = [spec.path for spec in specs if spec.kind == "file"]
    files = {path: listed_in(Path(path), listening) for path in paths}
    has_others = len(paths) < len(specs) or any(listed.nameservers for listed in files.values())
    without = "; the other upstreams are asked" if has_others else f"; {UNTIL}"
    for path, listed in files.items():
        if listed.text:
            yield f"{option}: {path}: {listed.text}{'' if listed.nameservers else without}"
