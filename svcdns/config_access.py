"""What stands in the files that the configuration names (certificates, tokens), and what deserves a warning.

Looked at by `svcdns check`, and at a start before anything runs.  Standard library only: the supervisor's
process does this.
"""

from __future__ import annotations

from pathlib import Path

from . import config_acl
from .config import ApiConfig, Config, ForwardConfig

MAX_FILE_OCTETS = 4 << 20


def mistakes(api: ApiConfig) -> list[str]:
    """Return what keeps the API from starting, a line each."""
    found = []
    if api.tls_cert is not None:
        from .server.tls import TlsError, context_of

        try:
            context_of(api)
        except TlsError as wrong:
            found.append(str(wrong))
    if api.tokens is not None:
        from .api.auth.token_file import read
        from .api.auth.token_lines import TokenError

        try:
            wrongs = read(api.tokens)[1]
        except TokenError as unreadable:
            wrongs = [f"{unreadable}; `svcdns token create --file {api.tokens}` makes it"]
        found += [f"api.tokens: {api.tokens}: {wrong}" for wrong in wrongs]
    return found


def warnings(api: ApiConfig) -> list[str]:
    """Return what will disturb clients, a line each; only where there are no mistakes."""
    if api.tls_cert is None:
        return []
    from .server import tls

    return tls.warnings(api)


def dns_mistakes(config: Config) -> list[str]:
    """Return what keeps DNS from starting, a line each."""
    found = []
    ca = config.forward.ca
    if ca is not None and (text := _no_certificates(ca)):
        found.append(f"forward.ca: {ca}: {text}")
    if missing := _missing_for_https(config.forward):
        found.append(missing)
    return found


def _missing_for_https(forward: ForwardConfig) -> str:
    """Return what an https:// upstream lacks on this machine, "" for nothing."""
    lists = {"upstreams": forward.upstreams, **{f"zone: {one.name}": one.upstreams for one in forward.zone}}
    for where, texts in lists.items():
        for text in texts:
            if text.startswith("https:"):
                try:
                    import h2  # noqa: F401
                    import httpx  # noqa: F401
                except ImportError:
                    return (
                        f"forward.{where}: {text} takes the packages httpx and h2: pip install 'httpx[http2]'"
                    )
    return ""


def _no_certificates(file: Path) -> str:
    """Return why a file is none of certificates to trust, "" where it is one."""
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_FILE_OCTETS).decode("ascii", "replace").replace("\ufffd", "?")
    except OSError as failed:
        return f"can't be read: {(failed.strerror or str(failed)).lower()}"
    import ssl  # here: only who forwards over TLS pays for it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        return "holds no certificates in PEM format; allowed: one or more of them, or no forward.ca at all"
    return ""


def dns_warnings(config: Config) -> list[str]:
    """Return what DNS does that an administrator should know of, a line each."""
    return config_acl.warnings(config)
