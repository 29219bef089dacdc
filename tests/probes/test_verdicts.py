"""From outcomes to verdicts: thresholds, startup before readiness, and the words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.probes.specs import ContainerProbes, NotRun, Probe, TcpSocket
from svcdns.probes.verdicts import ContainerVerdict, Outcome, verdict

YES, NO = Outcome(True, "seen"), Outcome(False, "connection refused")


def container(*, startup=None, readiness=None, was_ready=False, name="c"):
    return ContainerVerdict(ContainerProbes(name, startup, readiness), was_ready)


def fed(one, outcomes):
    """Return after each outcome whether the container is ready."""
    ready = []
    for outcome in outcomes:
        if (due := one.due) is not None:
            one.add(due, outcome)
        ready.append(one.verdict().ready)
    return ready


@pytest.mark.parametrize(
    ("success", "failure", "outcomes", "ready"),
    [
        (1, 3, "+", "+"),
        (1, 3, "+--", "+++"),
        (1, 3, "+---", "+++-"),
        (1, 3, "+--+--", "++++++"),
        (1, 3, "+---+", "+++-+"),
        (2, 1, "+", "-"),
        (2, 1, "++", "-+"),
        (2, 1, "+-++", "---+"),
        (2, 1, "++-+", "-+--"),
        (1, 1, "+-+-", "+-+-"),
    ],
)
def test_thresholds(success, failure, outcomes, ready) -> None:
    one = container(readiness=Probe(TcpSocket(1), success_threshold=success, failure_threshold=failure))
    found = fed(one, [YES if letter == "+" else NO for letter in outcomes])
    assert found == [letter == "+" for letter in ready]


@given(st.integers(1, 4), st.integers(1, 4), st.booleans(), st.lists(st.booleans(), max_size=40))
def test_as_the_kubelet_counts(success, failure, was_ready, results) -> None:
    """The kubelet's worker keeps the last result and how often it came; it reports at the threshold."""
    one = container(
        readiness=Probe(TcpSocket(1), success_threshold=success, failure_threshold=failure),
        was_ready=was_ready,
    )
    expected, state, last, run = [], was_ready, None, 0
    for result in results:
        run = run + 1 if result == last else 1
        last = result
        if run >= (success if result else failure):
            state = result
        expected.append(state)
    assert fed(one, [YES if result else NO for result in results]) == expected


def test_startup_comes_first_and_is_asked_no_more_once_it_has_passed() -> None:
    startup, readiness = Probe(TcpSocket(1), failure_threshold=1), Probe(TcpSocket(2))
    one = container(startup=startup, readiness=readiness)
    assert one.due is startup
    assert fed(one, [NO, NO, NO, NO]) == [False] * 4
    assert one.due is startup, "however often it fails: nobody restarts the process here"
    assert fed(one, [YES]) == [False]
    assert one.due is readiness
    assert fed(one, [YES]) == [True]


def test_startup_alone_is_enough() -> None:
    one = container(startup=Probe(TcpSocket(1)))
    assert fed(one, [YES, NO, NO, NO]) == [True] * 4
    assert one.due is None


def test_a_late_outcome_of_the_startup_probe_is_not_one_of_readiness() -> None:
    startup = Probe(TcpSocket(1))
    one = container(startup=startup, readiness=Probe(TcpSocket(2)))
    one.add(startup, YES)
    one.add(startup, YES)
    assert not one.verdict().ready


@pytest.mark.parametrize(
    ("one", "outcomes", "expected"),
    [
        (
            container(readiness=Probe(TcpSocket(1))),
            [],
            (False, "ProbeStarting", "container c: its readiness probe has not succeeded yet"),
        ),
        (
            container(readiness=Probe(TcpSocket(1))),
            [NO],
            (False, "ProbeFailed", "container c: readiness probe failed: connection refused"),
        ),
        (
            container(startup=Probe(TcpSocket(1))),
            [NO],
            (False, "ProbeFailed", "container c: startup probe failed: connection refused"),
        ),
        (container(readiness=Probe(NotRun("no port"))), [], (False, "ProbeNotRun", "container c: no port")),
        (container(readiness=Probe(TcpSocket(1))), [NO, YES], (True, "ProbeSucceeded", "")),
    ],
)
def test_the_words(one, outcomes, expected) -> None:
    fed(one, outcomes)
    assert one.verdict() == expected


def test_what_a_probe_said_is_kept_in_part() -> None:
    one = container(readiness=Probe(TcpSocket(1)))
    fed(one, [Outcome(False, "x" * 100_000)])
    assert len(one.verdict().message) < 500


def test_a_pod_is_as_ready_as_its_first_container_that_is_not() -> None:
    first, second = (container(readiness=Probe(TcpSocket(1)), name=name) for name in ("a", "b"))
    fed(first, [YES])
    fed(second, [NO])
    assert verdict([first, second]).message == "container b: readiness probe failed: connection refused"
    fed(second, [YES])
    assert verdict([first, second]) == (True, "ProbeSucceeded", "the probes of all 2 containers succeed")
