"""Ten thousand Services: what a change costs depends on what changed, and not on how many there are."""

import statistics
import time
from typing import Any

import pytest
from cluster.traffic_harness import cluster_ip, endpoint, slice_of
from proxy.agent_harness import RecordingEngine, running_agent
from proxy.scripted_api import scripted_api
from toolbox.waiting import until

SLICES = "endpointslices"
Object = dict[str, Any]


def objects(count: int) -> dict[str, list[Object]]:
    """Services with three endpoints each."""
    numbers = [(number, f"{number // 250}.{1 + number % 250}") for number in range(count)]
    made = [cluster_ip(f"s{number}", f"10.96.{place}") for number, place in numbers]
    ends = [
        slice_of(
            *(endpoint(f"10.{one}.{place}") for one in (1, 2, 3)), name=f"s{number}", service=f"s{number}"
        )
        for number, place in numbers
    ]
    for obj in (*made, *ends):
        obj["metadata"] |= {"namespace": "default", "resourceVersion": "1"}
    return {"services": made, SLICES: ends}


async def change_seconds(count: int) -> float:
    """The CPU time of one change among so many Services: the median of many."""
    engine = RecordingEngine()
    async with scripted_api() as api:
        api.objects = objects(count)
        async with running_agent(api.url, engine):
            assert len(engine.rules) == count
            await until(lambda: SLICES in dict(api.watched))
            took = []
            for turn in range(200):
                one = slice_of(endpoint(f"10.9.9.{turn + 1}"), name="s1", service="s1")
                one["metadata"] |= {"namespace": "default", "resourceVersion": str(1000 + turn)}
                began, applied = time.process_time(), len(engine.applies)
                api.send(SLICES, {"type": "MODIFIED", "object": one})
                await until(lambda applied=applied: len(engine.applies) > applied)  # type: ignore[misc]
                took.append(time.process_time() - began)
            assert engine.applies == [{"TCP 10.96.0.2:80"}] * 200
            return statistics.median(took)


@pytest.mark.alone
async def test_a_change_costs_no_more_among_ten_thousand_services_than_among_ten() -> None:
    few, many = await change_seconds(10), await change_seconds(10_000)

    assert many < 3 * few, f"{1e3 * many:.2f} ms against {1e3 * few:.2f} ms"
