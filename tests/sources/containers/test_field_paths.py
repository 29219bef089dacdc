"""Fields of a configuration by their paths in a conflict of server-side apply."""

import pytest

from svcdns.sources.containers.field_paths import without

OBJECT = {
    "metadata": {"labels": {"app.kubernetes.io/name": "a", "app": "b"}},
    "spec": {"ports": [{"port": 80, "protocol": "TCP", "name": "x"}, {"port": 81, "protocol": "TCP"}]},
    "status": {"hosts": ["a", "b"]},
}


@pytest.mark.parametrize(
    ("path", "left"),
    [
        (".metadata.labels.app.kubernetes.io/name", {"metadata": {"labels": {"app": "b"}}}),
        (".metadata.labels.app", {"metadata": {"labels": {"app.kubernetes.io/name": "a"}}}),
        (
            '.spec.ports[port=80,protocol="TCP"].name',
            {"spec": {"ports": [{"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}]}},
        ),
        ('.spec.ports[port=81,protocol="TCP"]', {"spec": {"ports": [OBJECT["spec"]["ports"][0]]}}),  # type: ignore[index]
        ('.status.hosts[="a"]', {"status": {"hosts": ["b"]}}),
        (".spec.ports", {"spec": {}}),
        (".spec.other", {}),
        ("nonsense[", {}),
        ("", {}),
    ],
)
def test_one_field_goes_and_all_else_stays(path: str, left: dict[str, object]) -> None:
    assert without(OBJECT, path) == {**OBJECT, **left}
