"""Logging a state when it changes."""

from svcdns.system.log_on_change import LogOnChange


def test_a_state_is_logged_once() -> None:
    logged = LogOnChange()
    states = ["", "down", "down", "down again", "", "", "down again"]
    assert [state for state in states if logged.is_new(state)] == ["down", "down again", "", "down again"]


def test_the_first_state_needs_no_line() -> None:
    logged = LogOnChange(False)
    assert [logged.is_new(state) for state in (False, True, True, False)] == [False, True, False, True]
