"""What the site itself says to its hub goes out like everything else: by permit, after its entry, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from ecotone.flow.reporting import ANSWER_BYTES_MAX, Answer, Message, allowed, decoded, leave, tell
from ecotone.flow.spend import Budgets
from ecotone.flow.windows import Window, Windows
from ecotone.policy import Policy, Rule
from ecotone.ports import Sink, Stream
from ecotone.sim.scripted import Stage
from ecotone.values import Egress, Permit, Place, Receipt, RefusalError, TargetError, TargetSpec, binding

Make = Callable[..., Stage]
REPORT = Message(kind="hub.report", method="POST", path="/v1/sites/a/reports", body=b'{"seq":1}')


class Wire:
    """A hub that does what its script says, and remembers what came, with the state of the journal at that moment."""

    def __init__(self, one: Stage, *script: Callable[[Sink], None], region: str | None = None) -> None:
        self.spec = TargetSpec(name="hub", at=Place.CLOUD, model="hub", region=region)
        self.origin = "https://hub.example.org:443"
        self.came: list[tuple[Message, Permit, Receipt, bool]] = []
        self.aborted = 0
        self._one, self._script = one, script

    def open(self, message: Message, sink: Sink, permit: Permit, receipt: Receipt) -> Stream:
        self.came.append((message, permit, receipt, permit.seal in self._one.journal.durable))
        for step in self._script:
            asyncio.get_running_loop().call_soon(step, sink)
        return self

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abort(self) -> None:
        self.aborted += 1


def head(status: int = 200, headers: Mapping[str, str] | None = None) -> Callable[[Sink], None]:
    return lambda sink: sink.head(status, headers or {"content-type": "application/json"})


def body(content: bytes) -> Callable[[Sink], None]:
    return lambda sink: sink.data(content)


def end(sink: Sink) -> None:
    sink.ended()


def failed(sink: Sink) -> None:
    sink.failed(TargetError("refused", "nobody there"))


def told(one: Stage, wire: Wire, message: Message = REPORT) -> Answer:
    return one.loop.run_until_complete(tell(one.site, wire, message))


def test_a_message_goes_after_its_entry_with_a_permit_for_exactly_its_bytes(stage: Make) -> None:
    one = stage()
    wire = Wire(one, head(), body(b'{"ack'), body(b'_seq":1}'), end)
    answer = told(one, wire)
    ((message, permit, receipt, was_durable),) = wire.came
    assert was_durable
    assert message is REPORT
    assert (permit.request, permit.target, permit.origin) == ("hub.report", "hub", wire.origin)
    assert permit.digest == binding("none", REPORT.body)
    assert receipt.seal == permit.seal
    assert (answer.status, answer.body, answer.seq) == (200, b'{"ack_seq":1}', receipt.seq)
    assert one.site.spend.egress_bytes == len(REPORT.body)
    one.site.spend.egress_bytes = 0


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ((failed,), "refused"),
        ((head(200, {"content-type": "text/html"}), body(b"log in"), end), "captive_portal"),
        ((head(302, {"location": "https://elsewhere"}), end), "captive_portal"),
        ((head(), body(b"x" * (ANSWER_BYTES_MAX + 1)), end), "bad_answer"),
        ((head(),), "first_byte_timeout"),
        ((), "first_byte_timeout"),
    ],
)
def test_what_goes_wrong_is_told_and_the_work_is_stopped(
    stage: Make, script: tuple[Callable[[Sink], None], ...], code: str
) -> None:
    one = stage()
    wire = Wire(one, *script)
    with pytest.raises(TargetError) as caught:
        told(one, wire)
    assert caught.value.code == code
    assert wire.aborted == 1
    one.site.spend.egress_bytes = 0


def refused(stage: Make, **changes: Any) -> str:
    one = stage(**changes)
    wire = Wire(one, head(), end, region="us")
    with pytest.raises(RefusalError) as caught:
        told(one, wire)
    assert wire.came == []
    assert not one.journal.durable
    return caught.value.code


def test_nothing_goes_where_it_may_not(stage: Make) -> None:
    never = Rule(name="policy[0]", egress=Egress.NEVER, target="hub")
    abroad = Rule(name="policy[0]", egress=Egress.NEVER, to_region=("us",))
    closed = Budgets(windows=Windows([Window((0,), 0, 1)]), is_strict=True)
    assert refused(stage, is_cloud_off=True) == "refused.no_cloud"
    assert refused(stage, policy=Policy(rules=(never,))) == "refused.policy"
    assert refused(stage, policy=Policy(rules=(abroad,))) == "refused.policy"
    assert refused(stage, budgets=closed) == "refused.window"
    assert refused(stage, budgets=Budgets(egress_bytes_per_day=0)) == "refused.budget"
    assert refused(stage, disk_full=((0.0, 1e9),)) == "refused.ledger"


def test_nothing_new_is_an_answer(stage: Make) -> None:
    one = stage()
    assert told(one, Wire(one, head(304, {}), end)).status == 304
    one.site.spend.egress_bytes = 0


def test_rules_that_speak_of_callers_do_not_speak_of_the_hub(stage: Make) -> None:
    rules = (
        Rule(name="policy[0]", egress=Egress.NEVER, label="person"),
        Rule(name="policy[1]", egress=Egress.NEVER, key="research"),
        Rule(name="policy[2]", egress=Egress.NEVER, target="big"),
    )
    one = stage(policy=Policy(rules=rules), budgets=Budgets(egress_bytes_per_day=1000))
    assert allowed(one.site, Wire(one)).egress is Egress.FREE


def test_leave_alone_is_an_entry_and_a_permit(stage: Make) -> None:
    one = stage()
    permit, receipt = one.loop.run_until_complete(leave(one.site, Wire(one), "hub.fetch", b""))
    assert permit.request == "hub.fetch"
    assert receipt.seal == permit.seal
    assert one.journal.entries[-1][1]["request"] == "hub.fetch"


class _Ack(msgspec.Struct):
    ack_seq: int


def test_an_answer_is_read_or_refused() -> None:
    assert decoded(Answer(200, {}, b'{"ack_seq":3,"more":1}', 0), _Ack).ack_seq == 3
    for raw in (b"[]", b'{"ack_seq": "3"}', b"\xff", b'{"x":' + b"[" * 100_000):
        with pytest.raises(TargetError, match="no hub"):
            decoded(Answer(200, {}, raw, 0), _Ack)
