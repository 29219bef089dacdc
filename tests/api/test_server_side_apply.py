"""PATCH with application/apply-patch+yaml: what is read of the request; and whose a write is."""

import json

import pytest

WEB = "/api/v1/namespaces/shop/services/web"
APPLY = {"Content-Type": "application/apply-patch+yaml"}


@pytest.fixture
def given(registry):
    """Return (patch, options) of the last PATCH that reached the registry."""
    calls = []
    found = registry.patch

    async def patch(kind, namespace, name, patch, options, subresource=""):
        calls.append((patch, options, subresource))
        return await found(kind, namespace, name, type(patch)("merge", patch.document), options, subresource)

    registry.patch = patch
    return calls


@pytest.mark.parametrize(
    "body",
    [
        b"metadata:\n  labels: {a: '1'}\nspec:\n  ports:\n  - port: 80\n",
        b'{"metadata": {"labels": {"a": "1"}}, "spec": {"ports": [{"port": 80}]}}',
        b"  {metadata: {labels: {a: '1'}}, spec: {ports: [{port: 80}]}}",
    ],
)
async def test_yaml_and_json(client, given, body):
    answer = await client.patch(f"{WEB}?fieldManager=ci", data=body, headers=APPLY)
    assert answer.status == 200, await answer.text()
    ((patch, options, subresource),) = given
    assert (patch.type, options.field_manager, options.force, subresource) == ("apply", "ci", False, "")
    assert patch.document == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"a": "1"}},
        "spec": {"ports": [{"port": 80}]},
    }


async def test_force_and_status(client, given):
    address = f"{WEB}/status?fieldManager=ci&force=true&dryRun=All"
    assert (await client.patch(address, data=b"{}", headers=APPLY)).status == 200
    ((_, options, subresource),) = given
    assert (options.force, options.dry_run, subresource) == (True, True, "status")


@pytest.mark.parametrize(
    ("query", "content_type", "code", "message"),
    [
        (
            "",
            "apply-patch+yaml",
            422,
            'PatchOptions.meta.k8s.io "" is invalid: '
            "fieldManager: Required value: is required for apply patch",
        ),
        ("?fieldManager=", "apply-patch+yaml", 422, "is required for apply patch"),
        (
            "?force=true",
            "merge-patch+json",
            422,
            'PatchOptions.meta.k8s.io "" is invalid: '
            "force: Forbidden: may not be specified for non-apply patch",
        ),
        ("?fieldManager=a&force=perhaps", "apply-patch+yaml", 400, "force"),
        ("?fieldManager=" + "x" * 129, "apply-patch+yaml", 400, "fieldManager"),
        ("?fieldManager=a%00b", "apply-patch+yaml", 400, "fieldManager"),
        ("?fieldManager=a", "apply-patch+json", 415, "application/apply-patch+yaml"),
    ],
)
async def test_parameters(client, given, query, content_type, code, message):
    headers = {"Content-Type": f"application/{content_type}"}
    answer = await client.patch(WEB + query, data=b"{}", headers=headers)
    status = await answer.json()
    assert (answer.status, status["code"]) == (code, code)
    assert message in status["message"]
    assert given == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[]",
        b"null",
        b"a: [",
        b"{",
        b'"x"',
        b"\xff",
        b"a: 1\n---\nb: 2\n",
        b"metadata: []",
        b"[" * 5000,
    ],
)
async def test_bodies_that_are_no_object(client, given, body):
    answer = await client.patch(f"{WEB}?fieldManager=ci", data=body, headers=APPLY)
    assert answer.status == 400, await answer.text()
    assert given == []


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"name": "other"}},
        {"metadata": {"namespace": "other"}},
        {"kind": "Pod"},
        {"apiVersion": "v2"},
    ],
)
async def test_the_body_is_of_the_object_on_the_path(client, given, body):
    answer = await client.patch(f"{WEB}?fieldManager=ci", data=json.dumps(body), headers=APPLY)
    assert answer.status == 400
    assert given == []


@pytest.mark.parametrize(
    ("agent", "manager"),
    [
        ("kubectl/v1.37 (linux)", "kubectl"),
        ("Mozilla", "Mozilla"),
        ("/1", "unknown"),
        ("", "unknown"),
        ("x" * 500, "x" * 128),
        ("a\tb/1", "ab"),
    ],
)
async def test_without_a_manager_the_program_is_it(client, given, agent, manager):
    headers = {"Content-Type": "application/merge-patch+json", "User-Agent": agent}
    assert (await client.patch(WEB, data=b"{}", headers=headers)).status == 200
    assert given[0][1].field_manager == manager
