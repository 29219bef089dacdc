"""What the console costs and how quick it is, in Debian's Chromium.

    python bench/console.py [SERVICES] [SECONDS]     10000 and 30 where left out

1. first paint; a view of SERVICES listed, and filtered;
2. from the PATCH of a Pod's readiness to the row that shows it, in the page;
3. the writer's CPU at 100 changes a second with one stream open, beside none, in turns;
4. what tab and writer hold while as many changes as one client makes come for SECONDS.

Times are those of this machine; the third is a share of one core.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filling import fill
from measuring import PODS, Calls, RunningServer, cpu_of_family, memory, pod, service, table
from playwright.sync_api import Page, sync_playwright

from svcdns.config.sections import Config
from svcdns.objects.kinds import POD, SERVICE

CHANGES, ROUNDS, ROUND_SECONDS, RATE = 50, 5, 5.0, 100
PATCH = "application/strategic-merge-patch+json"
_SHOWS = "text => document.querySelector('tbody')?.textContent.includes(text)"


def objects(services: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield Services with a Pod each."""
    for number in range(services):
        name = f"s-{number:05}"
        yield SERVICE, service(name, clusterIP="None")
        yield POD, pod(f"{name}-0", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", name)


def flip(calls: Calls, number: int, ready: bool) -> None:
    """Change the readiness of a Pod."""
    conditions = [{"type": "Ready", "status": str(ready)}]
    code, said = calls.call(
        "PATCH", f"{PODS}/s-{number:05}-0/status", {"status": {"conditions": conditions}}, PATCH
    )
    assert code == 200, said


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def listed(page: Page, url: str, services: int) -> Iterator[tuple[str, str]]:
    """Yield how long the first view and filtering take."""
    page.goto(f"{url}/console/#/overview")
    page.wait_for_selector("h1")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    yield "first paint", f"{paint:.0f} ms"
    last, first = f"s-{services - 1:05}", "s-00000"
    page.evaluate("location.hash = '#/services'")
    took = milliseconds(lambda: page.wait_for_function(_SHOWS, arg=first))
    yield f"{services} Services listed", f"{took:.0f} ms"
    field = page.get_by_label("Filter")
    field.fill("s-")
    took = milliseconds(lambda: (field.fill(last), page.wait_for_function(_SHOWS, arg=last)))
    yield "filtered", f"{took:.0f} ms"


def changes(page: Page, calls: Calls) -> Iterator[tuple[str, str]]:
    """Yield how long a change takes to be seen; the page itself notes when its row says so."""
    page.get_by_label("Filter").fill("s-00007")
    page.wait_for_function(_SHOWS, arg="s-00007")
    found = []
    for number in range(CHANGES):
        ready = bool(number % 2)
        begun = time.perf_counter()
        flip(calls, 7, ready)
        page.wait_for_function(_SHOWS, arg="1/1" if ready else "0/1", polling="raf")
        found.append((time.perf_counter() - begun) * 1000)
    found.sort()
    text = f"p50 {statistics.median(found):.0f} ms, p95 {found[int(len(found) * 0.95)]:.0f} ms"
    yield "a change until its row shows it", text


@contextmanager
def streamed(url: str, wanted: bool) -> Iterator[None]:
    """Hold a stream open and read it, or none."""
    if not wanted:
        yield
        return
    answer = urllib.request.urlopen(f"{url}/svcdns/v1/stream?kinds=services,endpointslices")
    while b"SYNCED" not in answer.readline():
        pass
    reader = threading.Thread(target=lambda: [None for _ in answer], daemon=True)
    reader.start()
    try:
        yield
    finally:
        answer.fp.raw._sock.shutdown(2)
        reader.join()


def writer_share(server: RunningServer, calls: Calls, wanted: bool) -> float:
    """Return what the writer takes of a core, in percent, at RATE changes a second."""
    with streamed(server.api, wanted):
        before, begun = cpu_of_family(server.writer_pid), time.monotonic()
        for number in range(int(RATE * ROUND_SECONDS)):
            flip(calls, number % 100, bool(number // 100 % 2))
            time.sleep(max(0.0, begun + (number + 1) / RATE - time.monotonic()))
        return (cpu_of_family(server.writer_pid) - before) / (time.monotonic() - begun) * 100


def growth(page: Page, server: RunningServer, calls: Calls, seconds: float) -> Iterator[tuple[str, str]]:
    """Yield what tab and writer hold before and after many changes."""
    page.get_by_label("Filter").fill("")
    heap = "performance.memory.usedJSHeapSize / 1048576"

    def held() -> tuple[float, float]:
        page.evaluate("window.gc && gc()")
        return page.evaluate(heap), memory(server.writer_pid)["Pss"]

    made, marks = 0, [held()]
    for _ in range(3):
        end = time.monotonic() + seconds / 3
        while time.monotonic() < end:
            flip(calls, made % 1000, bool(made // 1000 % 2))
            made += 1
        marks.append(held())
    yield f"{made / seconds:.0f} changes a second for {seconds:.0f} s", ""
    yield "  the tab's heap, MiB", " → ".join(f"{tab:.0f}" for tab, _ in marks)
    yield "  the writer, MiB", " → ".join(f"{writer:.0f}" for _, writer in marks)


def main(services: int = 10_000, seconds: float = 30) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        fill(data, Config(), objects(services))
        with (
            RunningServer(workers=1, data=data, config='[dns]\nzones = "none"\n') as server,
            sync_playwright() as driver,
        ):
            calls = Calls(server.api)
            options = ["--no-sandbox", "--js-flags=--expose-gc", "--enable-precise-memory-info"]
            browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=options)
            page = browser.new_page()
            rows = [*listed(page, server.api, services), *changes(page, calls)]
            rows += growth(page, server, calls, seconds)
            browser.close()
            shares = [
                [writer_share(server, calls, wanted) for wanted in (False, True)] for _ in range(ROUNDS)
            ]
            without, with_one = (statistics.median(column) for column in zip(*shares, strict=True))
            more = statistics.median(one - none for none, one in shares)
            rows.append((f"writer at {RATE} changes a second", f"{without:.1f} % of a core"))
            rows.append(("  with one stream", f"{with_one:.1f} %, {more:+.1f}"))
    table(("", ""), rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
