"""Reading a configuration file that a test writes: what it gives, or the line of its mistake."""

from pathlib import Path

import pytest

from svcdns.config.load import load
from svcdns.config.sections import Config, ConfigError


def of_text(folder: Path, text: str, environ: dict[str, str] | None = None, **flags: object) -> Config:
    file = folder / "etc" / "svcdns.toml"
    file.write_text(text)
    dotted = {name.replace("__", "."): value for name, value in flags.items()}
    return load(file, environ or {}, dotted)


def mistake(folder: Path, text: str, environ: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        of_text(folder, text, environ, **flags)
    line = str(caught.value)
    assert "\n" not in line
    return line.removeprefix(str(folder / "etc") + "/")
