"""Commands run in this process: each would cost half a second in one of its own."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from svcdns.cli import certificates
from svcdns.cli.main import main


def svcdns(
    *arguments: object, cwd: Path, stdin: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in the folder `cwd`."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SVCDNS_")}
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.dict(os.environ, {**inherited, **environ}, clear=True),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        pytest.raises(SystemExit) as ended,
    ):
        main([str(one) for one in arguments])
    code = ended.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def mistake(*arguments: object, cwd: Path, code: int = 2, **environ: str) -> str:
    ran = svcdns(*arguments, cwd=cwd, **environ)
    assert (ran.returncode, ran.stdout) == (code, ""), ran
    assert ran.stderr.startswith("svcdns: ")
    assert ran.stderr.count("\n") == 1, ran.stderr
    return ran.stderr.removeprefix("svcdns: ").strip()


def write(folder: Path, name: str, pair: certificates.Pair) -> None:
    (folder / "certs" / f"{name}.crt").write_bytes(pair.certificate_pem)
    (folder / "certs" / f"{name}.key").write_bytes(pair.key_pem)
    (folder / "certs" / f"{name}.key").chmod(0o600)
