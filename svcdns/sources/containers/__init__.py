"""Containers of Docker and Podman as Pods and Services: each has its Kubernetes name while it runs.

    engine     GETs of the engine's API ─▶ engine_objects   its JSON as `Container`
    labels     what a container's labels ask for
    members    a container as a member of Services: names, ports, readiness; `addresses` where it is reached
    plan       all containers ─▶ the objects that there should be, and why some are not there
    writing    plan ─▶ registry: server-side apply, never forced; ownership; what is no longer wanted goes
    source     one engine: list, events, resync, backoff ─▶ reporting (Events), status (what is published)

Rules:

* the list is the truth, events are hints: all is listed again once a minute and after each end of a stream;
* only GETs go to the engine;
* `engine_objects` to `plan` are pure: the same containers give the same objects, in whatever order they come.
"""
