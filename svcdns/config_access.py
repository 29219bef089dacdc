"""What stands in the files that [api] names: certificates and tokens.

Looked at by `svcdns check`, and at a start before anything runs.  Standard library only: the supervisor's
process does this.
"""

from __future__ import annotations

from .config import ApiConfig


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
