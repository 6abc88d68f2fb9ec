"""Nothing leaves before all detectors have looked, and what may only go pseudonymised goes with surrogates."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from ecotone import flow
from ecotone.policy import Policy
from ecotone.ports import Looked, Prepared
from ecotone.privacy import Look
from ecotone.sim.scripted import ScriptedTarget, Stage, chunk, data, ended, failed, head, status, stream, whole
from ecotone.values import Egress, Features, Finding, Mode, Place, Request, Wish
from ecotone.wire import sse

Make = Callable[..., Stage]
NAME = "Jane Roe"


def person(text: str) -> list[Finding]:
    return [Finding("person", "person", *one.span(), 0.9, "names") for one in re.finditer(NAME, text)]


class Names:
    """Sees Jane; takes its time."""

    def __init__(self, takes_s: float = 0.01, missing: tuple[tuple[str, str], ...] = ()) -> None:
        self.takes_s, self.missing = takes_s, missing
        self.asked: list[tuple[str, ...]] = []

    async def look(self, texts: Sequence[str], detectors: Sequence[str], *, limit_s: float) -> Looked:
        self.asked.append(tuple(texts))
        await asyncio.sleep(min(self.takes_s, limit_s))
        if self.missing or self.takes_s > limit_s:
            return Looked(((),) * len(texts), self.missing or (("names", "late"),))
        seen = [
            [Finding("person", "person", *one.span(), 0.9, "names") for one in re.finditer(NAME, text)]
            for text in texts
        ]
        return Looked(tuple(tuple(found) for found in seen))


def card(text: str) -> list[Finding]:
    return [Finding("card", "card", *one.span(), 1.0, "patterns") for one in re.finditer("4111", text)]


def edge(*scripts: Any, **spec: Any) -> ScriptedTarget:
    return ScriptedTarget("small", *scripts, at=Place.EDGE, **spec)


def cloud(*scripts: Any, **spec: Any) -> ScriptedTarget:
    return ScriptedTarget("big", *scripts, **spec)


def site(
    stage: Make, *targets: ScriptedTarget, names: Names | None = None, person: Egress = Egress.NEVER, **more: Any
) -> Stage:
    given = {
        "look": Look({"patterns": card}, ("names",)),
        "inspector": names or Names(),
        "policy": Policy(labels={"person": person}),
        "surrogate_secret": b"s" * 32,
    }
    return stage(*targets, **(given | more))


def saying(one: Stage, text: str, **more: Any) -> Request:
    body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
    return one.request(body=msgspec.json.encode(body), **more)


def placed(one: Stage) -> list[dict[str, Any]]:
    return [entry for kind, entry in one.journal.entries if kind == "placed"]


def said(one: Stage) -> str:
    events = [msgspec.json.decode(payload) for payload in sse.payloads(one.caller.body) if payload != b"[DONE]"]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


def test_who_is_answered_at_the_edge_waits_for_no_dear_detector(stage: Make) -> None:
    names = Names()
    one = site(stage, edge(stream("a")), cloud(stream("b")), names=names)
    assert one.serve(saying(one, NAME)).target == "small"
    assert names.asked == []
    assert [(entry["pending"], entry["labels"]) for entry in placed(one)] == [(["names"], [])]


def test_before_the_cloud_goes_first_all_detectors_look(stage: Make) -> None:
    names, big = Names(), cloud(stream("b"))
    one = site(stage, big, edge(stream("a")), names=names)
    assert one.serve(saying(one, "hello")).target == "big"
    assert names.asked == [("hello",)]
    assert [entry["pending"] for entry in placed(one)] == [[]]
    assert one.serve(saying(one, NAME)).target == "small"
    assert placed(one)[-1]["labels"] == ["person"]
    assert placed(one)[-1]["found"] == {"person": 1}
    assert len(big.sent) == 1


def test_before_a_fallback_to_the_cloud_all_detectors_look(stage: Make) -> None:
    names, big = Names(), cloud(stream("b"))
    one = site(stage, edge([failed("engine_crashed")]), big, names=names)
    outcome = one.serve(saying(one, "hello"))
    assert (outcome.target, outcome.reason) == ("big", "fallback.engine_crashed")
    assert [entry["pending"] for entry in placed(one)] == [["names"], []]
    outcome = one.serve(saying(one, NAME))
    assert (outcome.ending, outcome.status) == ("failed", 503)
    assert b"big: policy" in one.caller.body
    assert len(big.sent) == 1


def test_a_fallback_that_all_detectors_let_pass_tries_no_target_twice(stage: Make) -> None:
    small, big, far = edge([failed("reset")]), cloud([failed("dns")]), ScriptedTarget("far", stream("c"))
    one = site(stage, small, big, far)
    assert one.serve(saying(one, "hello")).target == "far"
    assert [len(target.sent) for target in (small, big, far)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("names", "why"), [(Names(takes_s=9.0), "names: late"), (Names(missing=(("names", "crashed"),)), "names: crashed")]
)
def test_a_detector_that_is_late_or_gone_keeps_it_at_the_site(stage: Make, names: Names, why: str) -> None:
    big = cloud(stream("b"))
    one = site(stage, big, edge(stream("a")), names=names)
    outcome = one.serve(saying(one, "hello"))
    assert (outcome.target, outcome.reason) == ("small", "edge.private")
    assert (placed(one)[0]["labels"], placed(one)[0]["missing"]) == (["unknown"], [why])
    assert big.sent == []


def test_without_a_worker_or_without_time_nothing_leaves(stage: Make) -> None:
    big = cloud(stream("b"))
    one = site(stage, big, inspector=None)
    assert one.serve(saying(one, "hello")).reason == "refused.policy"
    late = site(stage, big, waits=flow.Waits(look_s=0.0))
    assert late.serve(saying(late, "hello")).reason == "refused.policy"
    assert placed(late)[0]["missing"] == ["names: no time"]
    assert big.sent == []


@pytest.mark.parametrize(("why", "status"), [("starting", 503), ("crashed", 503), ("absent", 403), ("broken", 403)])
def test_who_cannot_be_looked_at_now_is_told_to_come_again(stage: Make, why: str, status: int) -> None:
    one = site(stage, cloud(stream("b")), names=Names(missing=(("names", why),)))
    outcome = one.serve(saying(one, "hello"))
    assert (outcome.ending, outcome.reason, outcome.status) == ("refused", "refused.policy", status)
    assert f"names: {why}".encode() in one.caller.body
    assert ("retry-after" in {name.lower() for name in one.caller.headers}) == (status == 503)


def test_a_text_that_was_looked_at_is_not_looked_at_again(stage: Make) -> None:
    names = Names()
    one = site(stage, cloud(stream("b")), names=names)
    for _ in range(2):
        assert one.serve(saying(one, "hello")).target == "big"
    assert len(names.asked) == 1


def test_what_the_quick_detector_finds_stays_and_costs_no_dear_look(stage: Make) -> None:
    names, big = Names(), cloud(stream("b"))
    one = site(stage, big, edge(stream("a")), names=names)
    assert one.serve(saying(one, "4111", wish=Wish.CLOUD)).target == "small"
    assert (names.asked, big.sent) == ([], [])


def test_explain_looks_as_deep_as_a_request_would(stage: Make) -> None:
    names = Names()
    one = site(stage, edge(), cloud(), names=names)
    told = one.loop.run_until_complete(flow.explain(one.site, saying(one, NAME)))
    assert (told["labels"], told["found"], told["order"]) == (["person"], {"person": 1}, ["small"])
    assert len(names.asked) == 1


def test_a_key_given_twice_reaches_no_target_with_what_nobody_read(stage: Make) -> None:
    small, big = edge([failed("reset")]), cloud(stream("b"))
    one = site(stage, small, big)
    body = b'{"model":"auto","messages":[{"role":"user","content":"4111"}],"messages":[{"role":"user","content":"x"}]}'
    assert one.serve(one.request(body=body)).target == "big"
    assert not any(b"4111" in sent for sent in (*small.bodies, *big.bodies))


# Pseudonyms.


def surrogate_in(body: bytes) -> str:
    found = re.findall(r"PERSON_[0-9A-F]{3,}", msgspec.json.decode(body)["messages"][-1]["content"])
    assert found, body
    return str(found[0])


class Echo(ScriptedTarget):
    """Answers with the words that it was sent, in small pieces."""

    def open(self, prepared: Prepared, *rest: Any) -> Any:
        text = msgspec.json.decode(prepared.body)["messages"][-1]["content"]
        self._scripts = [list(stream(*(text[at : at + 3] for at in range(0, len(text), 3))))]
        return super().open(prepared, *rest)


def test_a_name_goes_as_its_surrogate_and_comes_back_as_the_name(stage: Make) -> None:
    big = Echo("big")
    one = site(stage, big, person=Egress.PSEUDONYMISE)
    outcome = one.serve(saying(one, f"Dear {NAME}, hello"))
    assert (outcome.reason, outcome.restored, outcome.unrestored) == ("cloud.pseudonymised", 1, 0)
    assert NAME.encode() not in big.bodies[0]
    assert surrogate_in(big.bodies[0])
    assert said(one) == f"Dear {NAME}, hello"
    permit = big.sent[0][0]
    assert permit is not None
    assert permit.transform.startswith("pseudonymise:")
    sent = [entry for kind, entry in one.journal.entries if kind == "egress"]
    assert (sent[0]["labels"], sent[0]["replaced"]) == (["person"], {"person": 1})


def test_an_answer_in_one_piece_and_a_rejection_are_restored_too(stage: Make) -> None:
    big = cloud()
    one = site(stage, big, person=Egress.PSEUDONYMISE, mode=Mode.CLOUD)
    first = saying(one, f"I am {NAME}", is_stream=False)
    big._scripts = [list(whole("x"))]
    one.serve(first)
    surrogate = surrogate_in(big.bodies[0])
    big._scripts = [list(whole(f"Hello {surrogate}"))]
    one.serve(first)
    assert f"Hello {NAME}".encode() in one.caller.body
    big._scripts = [list(status(400, msgspec.json.encode({"error": {"message": f"no {surrogate}", "type": "x"}})))]
    one.serve(first)
    assert one.caller.status == 400
    assert f"no {NAME}".encode() in one.caller.body


def test_what_cannot_be_replaced_goes_to_the_next_target(stage: Make) -> None:
    big, small = cloud(stream("b")), edge(stream("a"))
    one = site(stage, big, small, person=Egress.PSEUDONYMISE)
    body = {"model": "auto", "messages": [{"role": "user", "content": "x"}], "tool_choice": NAME}
    outcome = one.serve(one.request(body=msgspec.json.encode(body)))
    assert (outcome.target, outcome.reason) == ("small", "fallback.egress_refused")
    assert big.sent == []


def test_bytes_that_still_hold_a_value_do_not_go(stage: Make) -> None:
    class Leaky(ScriptedTarget):
        def prepare(self, request: Request) -> Prepared:
            made = super().prepare(request)
            body = re.sub(rb"PERSON_[0-9A-F]+", NAME.encode(), made.body)
            return msgspec.structs.replace(made, body=body)

    big = Leaky("big", stream("b"))
    one = site(stage, big, edge(stream("a")), person=Egress.PSEUDONYMISE)
    assert one.serve(saying(one, NAME)).reason == "fallback.egress_refused"
    assert big.sent == []


def test_a_pseudonymised_answer_has_no_log_probabilities_so_that_target_lacks_them(stage: Make) -> None:
    one = site(stage, cloud(stream("b")), edge(stream("a")), person=Egress.PSEUDONYMISE)
    asked = saying(one, NAME, features=Features(10, needs=("stream", "logprobs")))
    assert one.serve(asked).target == "small"
    assert placed(one)[0]["placement"]["lost"][0]["detail"] == "lacks logprobs"


def test_what_was_not_restored_is_counted(stage: Make) -> None:
    link = "[see](https://a/?q="
    big = cloud(stream("x"))
    one = site(stage, big, person=Egress.PSEUDONYMISE)
    one.serve(saying(one, NAME))
    surrogate = surrogate_in(big.bodies[0])
    big._scripts = [[head(), data(chunk(f"{link}{surrogate}) ")), data(chunk(finish="stop") + sse.DONE), ended()]]
    outcome = one.serve(saying(one, NAME))
    assert (outcome.restored, outcome.unrestored) == (0, 1)
    assert NAME not in said(one)
