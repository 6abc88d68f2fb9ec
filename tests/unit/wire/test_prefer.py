"""What a caller says of work that may wait."""

from __future__ import annotations

import pytest

from ecotone.values import RequestError
from ecotone.wire.prefer import DEADLINE_MS_MAX, Deferral, applied, read_deferral, read_priority, read_webhook
from ecotone.wire.request import Head, read_head


def prefer(*values: str, **others: str) -> Deferral | None:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in others.items()]
    return read_deferral([*((b"prefer", value.encode("latin-1")) for value in values), *named])


@pytest.mark.parametrize(
    ("values", "is_async", "wait_s"),
    [
        (["respond-async"], True, None),
        (["Respond-Async, WAIT=10"], True, 10),
        (["respond-async; foo=bar, wait = 7;x"], True, 7),
        (["respond-async", "wait=3"], True, 3),
        (["wait=5, wait=9"], False, 5),
        (['wait="4"'], False, 4),
        (["handling=lenient, wait=99999999999999"], False, 300),
        (["respond-async, wait=abc"], True, None),
        (["respond-async, wait=-1"], True, None),
        (["wait=0"], False, 0),
    ],
)
def test_preferences(values: list[str], is_async: bool, wait_s: int | None) -> None:
    found = prefer(*values)
    assert found is not None
    assert (found.is_async, found.wait_s) == (is_async, wait_s)


@pytest.mark.parametrize("values", [[], ["return=minimal"], ["wait"], ["wait=soon"], [""], [", ,"], ["=respond-async"]])
def test_what_asks_for_no_job(values: list[str]) -> None:
    assert prefer(*values, idempotency_key="x", ecotone_priority="99") is None


def test_the_other_headers_of_a_job() -> None:
    found = prefer(
        "respond-async",
        ecotone_deadline_ms=str(DEADLINE_MS_MAX),
        ecotone_priority=" 9 ",
        idempotency_key="order 7",
        ecotone_webhook="http://ward.local/x?y=1",
    )
    assert found == Deferral(
        deadline_ms=DEADLINE_MS_MAX, priority=9, idempotency="order 7", webhook="http://ward.local/x?y=1"
    )
    assert prefer("respond-async") == Deferral()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ecotone_deadline_ms", "0"),
        ("ecotone_deadline_ms", str(DEADLINE_MS_MAX + 1)),
        ("ecotone_deadline_ms", "9" * 30),
        ("ecotone_priority", "10"),
        ("ecotone_priority", "high"),
        ("ecotone_priority", "²"),
        ("idempotency_key", "x" * 256),
        ("idempotency_key", "a\tb"),
        ("idempotency_key", "ä"),
        ("ecotone_webhook", "ftp://ward/x"),
        ("ecotone_webhook", "http://"),
        ("ecotone_webhook", "http://ann@ward/x"),
        ("ecotone_webhook", "http://ward/x#y"),
        ("ecotone_webhook", "http://ward/ x"),
        ("ecotone_webhook", "http://ward:99999/x"),
        ("ecotone_webhook", "http://[::1/x"),
        ("ecotone_webhook", "http://ward/" + "x" * 2048),
        ("ecotone_webhook", "http://wärd/"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(RequestError) as caught:
        prefer("respond-async", **{name: value})
    assert caught.value.code == "request.header"
    assert caught.value.param is not None
    assert caught.value.param.lower() == name.replace("_", "-")


def test_what_was_kept_to_is_said() -> None:
    assert applied(Deferral()) == "respond-async"
    assert applied(Deferral(wait_s=4)) == "respond-async, wait=4"
    assert applied(Deferral(is_async=False, wait_s=0)) == "wait=0"


def test_a_priority_and_a_webhook_alone() -> None:
    assert read_priority([(b"ecotone-priority", b"3"), (b"x", b"9")], 2) == 3
    assert read_priority([], 2) == 2
    assert read_webhook("") == ""


def test_a_job_has_the_deadline_and_a_request_has_not() -> None:
    head = Head(id="req-1", received_at_s=5.0)
    long = [(b"ecotone-deadline-ms", str(DEADLINE_MS_MAX).encode())]
    found = read_head(head, [*long, (b"prefer", b"respond-async"), (b"ecotone-labels", b"medical")])
    assert (found.deadline_at_s, found.labels) == (None, ("medical",))
    assert found.deferral is not None
    assert found.deferral.deadline_ms == DEADLINE_MS_MAX
    with pytest.raises(RequestError):
        read_head(head, long)
    assert read_head(head, [(b"ecotone-deadline-ms", b"500")]).deadline_at_s == 5.5
