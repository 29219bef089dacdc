"""`svcdns token`: make, list and revoke the bearer tokens of the API.

Only a new token itself goes to stdout, so that a script can take it; what else there is to say goes to
stderr.  Which file is edited: --file, or what `tokens` in [api] of the configuration says.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Annotated

import typer

from svcdns.config.sections import ConfigError

from .flags import loaded
from .outcome import say, show

app = typer.Typer(
    help="""Bearer tokens for the API: a file of their hashes, which a running server reads as it changes.""",
)

_Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", envvar="SVCDNS_CONFIG", help="Configuration that names the file."
    ),
]
_File = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="File of tokens; else that of api.tokens.")
]
_Name = Annotated[str, typer.Option("--name", metavar="NAME", help="Whose token it is.")]


@app.command()
def create(
    name: _Name,
    role: Annotated[str, typer.Option("--role", help="view, node, edit, admin or heartbeat.")] = "view",
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", metavar="NS", help="Only there; may be repeated. Else everywhere."),
    ] = None,
    file: _File = None,
    config: _Config = None,
) -> None:
    """Make a token, print it (this once only), and add its hash to the file.

    Example:

        svcdns token create --name ci --role edit --namespace shop --file tokens
    """
    from svcdns.api.auth import token_file, token_lines

    path, owner = _path(file, config)
    is_new = not path.exists()
    token = token_lines.new_token()
    try:
        token_file.add(path, token_lines.made(token, name, role, namespace or ()))
        if is_new and owner and os.geteuid() == 0:
            account = pwd.getpwnam(owner)
            os.chown(path, account.pw_uid, account.pw_gid)
    except token_lines.TokenError as wrong:
        raise ConfigError(f"{path}: {wrong}") from None
    typer.echo(token)
    say(f"{path}: its hash is there now; the token itself is shown only this once")


@app.command(name="list")
def list_(file: _File = None, config: _Config = None) -> None:
    """List the tokens of the file: name, role, namespaces.

    Example:

        svcdns token list --file tokens
    """
    from svcdns.api.auth import token_file, token_lines

    path, _ = _path(file, config)
    try:
        tokens, mistakes = token_file.read(path)
    except token_lines.TokenError as wrong:
        raise ConfigError(f"{path}: {wrong}") from None
    rows = [("NAME", "ROLE", "NAMESPACES")]
    rows += [(one.name, one.role, ",".join(one.namespaces) or "*") for one in tokens]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, role, namespaces in rows:
        show(f"{name:{widths[0]}}   {role:{widths[1]}}   {namespaces}")
    if mistakes:
        raise ConfigError(f"{path}: {mistakes[0]}")


@app.command()
def revoke(name: _Name, file: _File = None, config: _Config = None) -> None:
    """Take a token out of the file; a running server refuses it from the next request on.

    Example:

        svcdns token revoke --name ci --file tokens
    """
    from svcdns.api.auth import token_file, token_lines

    path, _ = _path(file, config)
    try:
        token_file.remove(path, name)
    except token_lines.TokenError as wrong:
        raise ConfigError(f"{path}: {wrong}") from None
    say(f"{path}: token {name!r} is revoked")


def _path(file: Path | None, config: Path | None) -> tuple[Path, str]:
    """Return the file of tokens, and the user that the server runs as ("" for whoever starts it)."""
    if file is not None:
        return file, ""
    resolved = loaded(config, {})
    if resolved.api.tokens is None:
        raise ConfigError("which file? say --file FILE, or set tokens in [api] of the configuration")
    return resolved.api.tokens, resolved.user
