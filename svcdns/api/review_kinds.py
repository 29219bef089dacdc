"""The reviews: kinds that can only be created, and of which nothing is stored.

A client posts one to ask what it may do, or who it is; the answer is the same object with a status.
https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

from svcdns.objects.kinds import Kind

_AUTHORIZATION, _AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"


def _review(name: str, group: str) -> Kind:
    return Kind(name, name.lower() + "s", name.lower(), group, "v1", False)


SELF_ACCESS = _review("SelfSubjectAccessReview", _AUTHORIZATION)
"""May I do this?"""
SELF_RULES = _review("SelfSubjectRulesReview", _AUTHORIZATION)
"""What may I do in this namespace?"""
ACCESS = _review("SubjectAccessReview", _AUTHORIZATION)
"""May that user do this?"""
SELF = _review("SelfSubjectReview", _AUTHENTICATION)
"""Who am I?"""

REVIEWS: tuple[Kind, ...] = (SELF_ACCESS, SELF_RULES, ACCESS, SELF)

VERBS = ("create",)
METHODS = ("POST",)


def by_path(path: str) -> Kind | None:
    """Return the review that is posted to a path (without a trailing slash), or None."""
    return _BY_PATH.get(path)


_BY_PATH = {f"/apis/{kind.group}/{kind.version}/{kind.plural}": kind for kind in REVIEWS}
