"""[[containers]]: engines whose containers are registered, and what of a table can't be."""

from pathlib import Path

import pytest

from svcdns.config.container_engines import ContainerEngine
from svcdns.config.load import examined, load, of_spelt, spelt_options
from svcdns.config.sections import ConfigError

DOCKER = "unix:///run/docker.sock"


def mistakes(folder: Path, text: str) -> list[str]:
    file = folder / "svcdns.toml"
    file.write_text(text)
    return examined(file, {}, {}).mistakes


def test_a_flag_a_variable_and_a_file_name_engines(tmp_path: Path) -> None:
    assert load(None, {}, {"containers": [DOCKER]}).containers == (ContainerEngine(DOCKER),)
    assert load(None, {"SVCDNS_CONTAINERS": DOCKER}, {}).containers == (ContainerEngine(DOCKER),)
    by_json = f'[{{"endpoint": "{DOCKER}", "linger": "5s"}}]'
    assert load(None, {"SVCDNS_CONTAINERS": by_json}, {}).containers == (ContainerEngine(DOCKER, linger=5),)
    file = tmp_path / "svcdns.toml"
    file.write_text(
        f'[[containers]]\nendpoint = "{DOCKER}"\nname = "left"\nresync = "2m"\nnamespaces = ["shop"]\n'
        'expose = "labelled"\n[[containers]]\nendpoint = "tcp://127.0.0.1:2375"\nname = "right"\n'
    )
    config = load(file, {}, {})
    left = ContainerEngine(DOCKER, "left", "labelled", namespaces=("shop",), resync=120)
    assert config.containers == (left, ContainerEngine("tcp://127.0.0.1:2375", "right"))
    assert of_spelt(spelt_options(config)).containers == config.containers


def test_an_engine_that_may_be_doubted_has_a_name(tmp_path: Path) -> None:
    lines = f'[[containers]]\nendpoint = "{DOCKER}"\nstale_after = "5m"\n'
    (found,) = mistakes(tmp_path, lines)
    assert "stale_after takes a name" in found
    (tmp_path / "svcdns.toml").write_text(lines + 'name = "left"\nkeep_orphans = true\n')
    (engine,) = load(tmp_path / "svcdns.toml", {}, {}).containers
    assert (engine.stale_after, engine.keep_orphans) == (300, True)


@pytest.mark.parametrize(
    ("lines", "place", "says"),
    [
        ("", 1, "endpoint"),
        ('endpoint = "/run/docker.sock"', 1, "unix://"),
        ('endpoint = "unix://run/docker.sock"', 1, "unix://"),
        ('endpoint = "tcp://192.0.2.1"', 1, "tcp://HOST:PORT"),
        ('endpoint = "tcp://192.0.2.1:99999"', 1, "tcp://HOST:PORT"),
        ("endpoint = 3", 1, "in quotes"),
        ('endpoint = "tcp://192.0.2.1:2375"', 1, "insecure = true"),
        (f'endpoint = "{DOCKER}"\ntls_ca = "/x"', 1, "for tcp://"),
        ('endpoint = "tcp://192.0.2.1:2376"\ntls_ca = "/x"\ntls_cert = "/y"', 1, "both or none"),
        ('endpoint = "tcp://192.0.2.1:2376"\ntls_ca = "x"', 1, "whole path"),
        (f'endpoint = "{DOCKER}"\nendpiont = "x"', 1, "did you mean endpoint?"),
        (f'endpoint = "{DOCKER}"\nname = "A_b"', 1, "lower-case"),
        (f'endpoint = "{DOCKER}"\nexpose = "some"', 1, "all, labelled"),
        (f'endpoint = "{DOCKER}"\nlinger = "soon"', 1, '"60s"'),
        (f'endpoint = "{DOCKER}"\nresync = "0s"', 1, '"24h"'),
        (f'endpoint = "{DOCKER}"\nresync = true', 1, '"60s"'),
        (f'endpoint = "{DOCKER}"\nhost_address = "0.0.0.0"', 1, "unicast"),
        (f'endpoint = "{DOCKER}"\nconstraints = "a in"', 1, "selector"),
        (f'endpoint = "{DOCKER}"\nnamespaces = "shop"', 1, '["shop"]'),
        (f'endpoint = "{DOCKER}"\nprefix_engine = "yes"', 1, "true nor false"),
        (
            f'endpoint = "{DOCKER}"\nname = "a"\n[[containers]]\nendpoint = "{DOCKER}"\nname = "b"',
            4,
            "each engine once",
        ),
        (
            f'endpoint = "{DOCKER}"\nname = "a"\n[[containers]]\nendpoint = "unix:///x"\nname = "a"',
            4,
            "name of its own",
        ),
        (f'endpoint = "{DOCKER}"\nname = "a"\n[[containers]]\nendpoint = "unix:///x"', 4, "takes a name"),
    ],
)
def test_a_mistake_is_told_with_its_table_and_what_is_allowed(
    tmp_path: Path, lines: str, place: int, says: str
) -> None:
    (found,) = mistakes(tmp_path, f"[[containers]]\n{lines}\n")
    assert found.startswith(f"{tmp_path}/svcdns.toml:{place}: containers: engine ")
    assert says in found


def test_one_that_is_no_list_of_tables_is_refused(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, f'[containers]\nendpoint = "{DOCKER}"\n')
    assert "[[containers]]" in found
    with pytest.raises(ConfigError, match="SVCDNS_CONTAINERS"):
        load(None, {"SVCDNS_CONTAINERS": "docker"}, {})
