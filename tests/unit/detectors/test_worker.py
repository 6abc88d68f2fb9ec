"""The worker's loop in this process: what it answers to what it reads."""

from __future__ import annotations

import gc
import signal
import socket
import threading
import time

import pytest

from ecotone.detectors import messages, worker
from ecotone.detectors.messages import Look, Ready, Seen, Setup


@pytest.fixture(autouse=True)
def alarms():
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    gc.unfreeze()


def conversation(*said, limit=None):
    """What the worker answers to these messages, until it ends."""
    ours, theirs = socket.socketpair()
    heard = bytearray()

    def listen():
        while part := ours.recv(1 << 20):
            heard.extend(part)

    listener = threading.Thread(target=listen)
    listener.start()
    with theirs:
        ours.sendall(b"".join(each if isinstance(each, bytes) else messages.framed(each) for each in said))
        ours.shutdown(socket.SHUT_WR)
        worker.serve(theirs, "hook")
    listener.join()
    ours.close()
    answers = []
    while heard:
        size = messages.length(bytes(heard[:4]))
        answers.append(messages.to_gateway(bytes(heard[4 : 4 + size])))
        del heard[: 4 + size]
    return answers


def test_it_loads_says_so_and_answers_each_detector_in_order(installed):
    ready, one, two = conversation(
        Setup(("first", "nothing"), {}), Look(5, ("Ada Lovelace", ""), ("first", "nothing"), 9)
    )
    assert isinstance(ready, Ready)
    assert (ready.versions, ready.failed, ready.isolation) == ({"first": "7", "nothing": "7"}, {}, "hook")
    assert (one.number, one.detector, one.why, len(one.found)) == (5, "first", "", 2)
    assert two == Seen(5, "nothing", ((), ()))


def test_findings_bear_the_detectors_name(installed):
    _, seen = conversation(Setup(("first",), {}), Look(1, ("Ada Lovelace",), ("first",), 9))
    assert [(each.detector, each.end) for each in seen.found[0]] == [("first", 5)]


def test_one_that_cannot_be_made_does_not_spoil_the_others(installed):
    names = ("unmade", "quits", "needs", "nothing")
    ready, *seen = conversation(Setup(names, {}), Look(1, ("a",), (*names, "unasked"), 9))
    assert set(ready.versions) == {"nothing"}
    assert {name: why for name, (why, _) in ready.failed.items()} == {
        "unmade": "broken",
        "quits": "broken",
        "needs": "absent",
    }
    assert [each.why for each in seen] == ["broken", "broken", "absent", "", "absent"]


def test_one_that_raises_or_exits_does_not_spoil_the_others_and_tells_no_content(installed):
    names = ("raises", "exits", "far", "short", "nothing")
    _, *seen = conversation(Setup(names, {}), Look(1, ("Ada",), names, 9))
    assert [each.why for each in seen] == ["failed", "failed", "bad_answer", "bad_answer", ""]
    assert seen[0].cause.startswith("ValueError at test_plugin.py:")


def test_one_that_takes_too_long_is_stopped_and_the_next_look_is_answered(installed):
    names = ("sleeps", "swallows", "nothing")
    began_s = time.monotonic()
    _, *seen = conversation(Setup(names, {}), Look(1, ("a",), names, 0.05), Look(2, ("a",), ("nothing",), 9))
    assert time.monotonic() - began_s < 30
    assert [(each.number, each.why) for each in seen] == [(1, "late"), (1, "late"), (1, "late"), (2, "")]


def test_an_answer_too_long_for_a_message_is_a_bad_one(installed):
    _, seen = conversation(Setup(("too_much",), {}), Look(1, ("a",), ("too_much",), 60))
    assert (seen.why, seen.cause) == ("bad_answer", "too much")


def test_it_ends_where_the_gateway_does(installed):
    assert conversation() == []
    assert conversation(Look(1, (), (), 1)) == []
    assert len(conversation(Setup((), {}), b"\0\0")) == 1


def test_an_alarm_that_rings_late_does_nothing():
    alarm = worker.Alarm()
    alarm.clear()
    signal.raise_signal(signal.SIGALRM)
    with pytest.raises(worker.LateError):
        alarm.set(0)
