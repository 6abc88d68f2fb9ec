"""What must be true of what is learned in a history, and of what learning does to callers; and what was reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from ecotone import flow, placement
from ecotone.flow import shadowing
from ecotone.flow.lessons import UNSURE
from ecotone.sim.classroom import CHECKER, Classroom, Kept
from ecotone.sim.watched import ASIDE, Sitting
from ecotone.sim.world import ATTEMPT, MadeCaller, MadeTarget
from ecotone.values import Mode, Outcome, Place, Request
from ecotone.values import reasons as why
from ecotone.values.quality import Reply, Role

SOON_S: Final = shadowing.GIVE_WAY_EVERY_S + 0.01
SLACK_S: Final = 1e-6
BY_QUALITY: Final = (why.EDGE_GOOD_ENOUGH, why.CLOUD_BETTER, why.EDGE_PINNED)
AT_WORK: Final = 2
"""Second answers that are under way at most when a process ends: one at each place."""

MUST_REACH: Final = frozenset(
    {
        "certify", "learn", "no role", "held back and sure", "unsure", "spare given", "free", "paid",
        "no second answer", "dropped", "refused for want of money", "gave way", "judged", "nobody could tell",
        "judged in the cloud", "step", "began anew", "off", "on", "another", "mode", "rung", "drop", "judge",
    }
)  # fmt: skip
"""What the learning of enough histories goes through."""

Entries = Mapping[str, Mapping[str, Sequence[Any]]]


class Told(Protocol):
    """One request of a history, as far as learning concerns it."""

    request: Request
    caller: MadeCaller
    outcome: Outcome | None


def check_lesson(classroom: Classroom, story: Told, mine: Mapping[str, Sequence[Any]]) -> Iterable[str]:
    """What the gates promise the caller of one request."""
    for entry in mine.get("placed", ()):
        kept = msgspec.convert(entry, flow.PlacedEntry)
        yield from _check_role(classroom, kept)
        yield from _check_promise(kept)
    outcome = story.outcome
    unsure = {text.split("-")[0] for one in classroom.learnings for text, is_sure in one.judged.items() if not is_sure}
    seen = unsure.intersection(ATTEMPT.findall(story.caller.body.decode()))
    if seen and (outcome is None or outcome.ending != "answered"):
        yield f"something of {sorted(seen)}, which was held back and not given"
    if outcome is not None and outcome.ending == "answered" and outcome.at == "edge":
        yield from _check_held(
            classroom, story, outcome, [msgspec.convert(entry, flow.PlacedEntry) for entry in mine["placed"]]
        )


def _check_role(classroom: Classroom, kept: flow.PlacedEntry) -> Iterable[str]:
    """The role is what the request's seed drew, with the probability that is written beside it."""
    if not any(candidate.estimate.gap is not None for candidate in kept.candidates):
        if kept.ask.role:
            yield f"drew {kept.ask.role}, and nothing was predicted of it"
        return
    edges = sum(candidate.at is Place.EDGE for candidate in kept.candidates)
    drawn = [one.role(kept.model, kept.ask.seed, kept.ask.mode) for one in classroom.learnings]
    if (kept.ask.role, kept.ask.role_share) not in [(role.value, share / edges) for role, share in drawn]:
        yield f"drew {kept.ask.role!r} with {kept.ask.role_share}, its seed says {drawn}"


def _check_promise(kept: flow.PlacedEntry) -> Iterable[str]:
    """In mode `auto` nothing that would risk too much goes to the edge for its quality."""
    first = next((one for one in kept.candidates if kept.placement.order[:1] == (one.target,)), None)
    if kept.ask.mode is not Mode.AUTO or first is None or first.at is Place.CLOUD:
        return
    estimate = first.estimate
    is_risky = estimate.gap is not None and estimate.gap_max is not None and estimate.gap > estimate.gap_max
    if is_risky and kept.placement.reason == why.EDGE_GOOD_ENOUGH:
        yield f"{first.target} was good enough with a gap of {estimate.gap:.3f}, {estimate.gap_max:.3f} may be risked"


def _check_held(
    classroom: Classroom, story: Told, outcome: Outcome, decisions: Sequence[flow.PlacedEntry]
) -> Iterable[str]:
    """What was to be held back was looked at, and given only if it was sure, or nobody else could answer."""
    kept = next(one for one in reversed(decisions) if outcome.target in one.placement.order)
    chosen = next(one for one in kept.candidates if one.target == outcome.target)
    after = kept.placement.order[kept.placement.order.index(outcome.target) + 1 :]
    clouds = [one.target for one in kept.candidates if one.at is Place.CLOUD and one.target in after]
    if not chosen.estimate.is_held or chosen.estimate.is_unsure or not clouds:
        return
    judged = [one.judged[text] for one in classroom.learnings for text in one.judged if text in _texts(story.caller)]
    tried = {attempt.target for attempt in outcome.attempts}
    # Who lost when it was decided once more need not be asked.
    tried |= set(clouds) - set(decisions[-1].placement.order)
    if not judged:
        yield f"an answer of {outcome.target} that was to be looked at was given as it came"
    elif not any(judged) and not tried.issuperset(clouds) and _is_time(story.request, outcome):
        yield f"an answer of {outcome.target} that was not sure, and {clouds} were not all asked"


def _texts(caller: MadeCaller) -> str:
    """What the caller read, whatever its form."""
    pieces = [line.removeprefix(b"data: ") for line in caller.body.splitlines() if line.startswith((b"data: {", b"{"))]
    choices = [choice for piece in pieces for choice in msgspec.json.decode(piece).get("choices", ())]
    return "".join((choice.get("delta") or choice.get("message") or {}).get("content") or "" for choice in choices)


def _is_time(request: Request, outcome: Outcome) -> bool:
    left_s = 40.0 if request.deadline_at_s is None else request.deadline_at_s - request.received_at_s
    return outcome.total_s < left_s - SLACK_S


def check_classroom(
    classroom: Classroom, targets: Mapping[str, MadeTarget], sittings: Sequence[Sitting], entries: Entries
) -> Iterable[str]:
    """Every broken invariant of second answers, in words."""
    for shadows in classroom.shadows:
        if shadows.crashed is not None:
            yield f"second answers ended with {shadows.crashed!r}"
        if shadows.waiting_max > shadowing.WAITING_MAX:
            yield f"{shadows.waiting_max} wait for a second answer, {shadowing.WAITING_MAX} may"
        lost = shadows.taken - shadows.done - shadows.dropped - shadows.waiting
        if not 0 <= lost <= (AT_WORK if shadows.is_dead or shadows is classroom.shadows[-1] else 0):
            yield f"of {shadows.taken} pairs {lost} are neither compared nor told to be lost"
    compared = [one for mine in entries.values() for one in mine.get("compared", ())]
    done = sum(shadows.done for shadows in classroom.shadows)
    pairs = sum(len(learning.pairs) for learning in classroom.learnings)
    if not len(compared) == done == pairs <= len(classroom.kept):
        yield f"{len(compared)} pairs in the ledger, {done} compared, {pairs} learned from"
    yield from _check_pairs(classroom, targets, entries)
    yield from _check_asides(classroom, entries)
    yield from _check_content(entries)
    yield from _check_waits(sittings)


def _check_pairs(classroom: Classroom, targets: Mapping[str, MadeTarget], entries: Entries) -> Iterable[str]:
    """Both answers are whole, of the right targets, and to the same request; and it is one that may be compared."""
    asked_by = next(iter(targets.values())).asked_by
    for _, edge, cloud in classroom.asked:
        askers = asked_by.get(edge.model), asked_by.get(cloud.model)
        if askers[0] != askers[1]:
            yield f"answers to {askers[0]} and to {askers[1]} are compared"
    for name, count in Counter(one.errand.request.id for one in classroom.kept).items():
        if count > 1:
            yield f"{name}: {count} pairs"
    to_make = {errand.request.id for errand, is_pair in classroom.shown if is_pair}
    for kept in classroom.kept:
        lesson, request = kept.errand.lesson, kept.errand.request
        name = str(msgspec.json.decode(request.body)["request"])
        for reply, target in zip(kept.replies, (lesson.edge, lesson.reference), strict=True):
            yield from (f"{request.id}: {problem}" for problem in _check_reply(reply, targets[target], name))
        if request.id not in to_make:
            yield f"{request.id}: compared, though it was not to be"
        yield from (f"{request.id}: {problem}" for problem in _check_errand(kept, entries[request.id]))


def _check_reply(reply: Reply, target: MadeTarget, name: str) -> Iterable[str]:
    if reply.model.split(".")[0] != target.spec.name:
        yield f"an answer of {reply.model} stands for one of {target.spec.name}"
    elif target.asked_by.get(reply.model) != name:
        yield f"the answer to {target.asked_by.get(reply.model)}"
    elif reply.text != target.served[reply.model]:
        yield f"compared {reply.text!r} of {target.served[reply.model]!r}"


def _check_errand(kept: Kept, mine: Mapping[str, Sequence[Any]]) -> Iterable[str]:
    lesson, outcome = kept.errand.lesson, kept.errand.outcome
    placed = msgspec.convert(mine["placed"][-1], flow.PlacedEntry)
    if placed.placement.reason not in BY_QUALITY or (placed.placement.reason == why.EDGE_PINNED) != (
        placed.ask.mode is Mode.EDGE
    ):
        yield f"compared, though {placed.placement.reason} put it there"
    if not lesson.role or lesson.role.value != placed.ask.role:
        yield f"compared as {lesson.role!r}, drew {placed.ask.role!r}"
    if outcome.at == "edge" and lesson.role is not Role.CERTIFY:
        yield "the cloud was paid for a pair that only teaches"
    # None where the ledger refused it.
    for pair in mine.get("compared", ()):
        if (pair["placed"], pair["role"], pair["target"]) != (outcome.at, lesson.role.value, lesson.edge):
            yield f"told to be {pair['role']} at {pair['placed']}"


def _check_asides(classroom: Classroom, entries: Entries) -> Iterable[str]:
    """The site's own requests: one decision that replays about one target, one outcome, and within their budget."""
    usd, tokens = 0.0, 0
    for request, mine in entries.items():
        placed = [msgspec.convert(entry, flow.PlacedEntry) for entry in mine.get("placed", ())]
        outcomes = [msgspec.convert(entry, Outcome) for entry in mine.get("outcome", ())]
        if not any(one.purpose for one in placed) and not any(one.purpose for one in outcomes):
            continue
        # A second decision is made once the dear detectors have looked.
        if len(outcomes) != 1 or len(placed) not in (0, 1, 2):
            yield f"{request}: {len(placed)} decisions and {len(outcomes)} outcomes of the site's own request"
        for kept in placed:
            if placement.decide(kept.ask, kept.candidates) != kept.placement:
                yield f"{request}: the decision does not replay"
            if len(kept.candidates) != 1 or kept.ask.role:
                yield f"{request}: the site's own request had a choice, or teaches"
        # One whose process ended is on nobody's bill.
        paid = [one for one in outcomes if one.egress_bytes and one.ending != "left"]
        usd += sum(one.cost_usd for one in paid)
        tokens += sum(one.input_tokens + one.output_tokens for one in paid)
    terms = classroom.terms
    if usd > terms.usd_per_day + SLACK_S or tokens > terms.tokens_per_day:
        yield f"{usd} USD and {tokens} tokens for comparing, {terms} may be spent"


def _check_content(entries: Entries) -> Iterable[str]:
    """Nothing that was said stands in the ledger."""
    for request, mine in entries.items():
        told = msgspec.json.encode(mine)
        if b"hello" in told or b"card-" in told or b"Jane-" in told or b"better" in told.replace(b"cloud.better", b""):
            yield f"{request}: content in the ledger"


def _check_waits(sittings: Sequence[Sitting]) -> Iterable[str]:
    """Nobody waits at the edge for an answer that nobody gets."""
    ours = [one for one in sittings if one.who[1] == ASIDE and one.held_s is not None and one.left_s is not None]
    for waiting in sittings:
        if waiting.who[1] == ASIDE or not waiting.target.startswith("edge"):
            continue
        until_s = waiting.held_s if waiting.held_s is not None else waiting.left_s
        for one in ours:
            if one.target == waiting.target:
                assert one.held_s is not None
                both_s = min(until_s or 0.0, one.left_s or 0.0) - max(waiting.asked_s, one.held_s)
                if both_s > SOON_S:
                    yield f"{waiting.who[1]} waits {both_s:.3f} s for a second answer at {one.target}"


def learned(classroom: Classroom, entries: Entries) -> Counter[str]:
    """What the learning of a history went through: words of `MUST_REACH`, counted."""
    found: Counter[str] = Counter(classroom.befell)
    for mine in entries.values():
        found["step"] += len(mine.get("step", ()))
        found.update(_roles(mine.get("placed", ())))
        for outcome in mine.get("outcome", ()):
            found.update(_words(classroom, outcome))
    for kept in classroom.kept:
        is_paid = kept.errand.outcome.at == "edge"
        found["paid" if is_paid else "no second answer" if kept.errand.lesson.reply is not None else "free"] += 1
        found["judged"] += kept.seen.checker != CHECKER
    found["held back and sure"] += sum(sum(one.judged.values()) for one in classroom.learnings)
    found["dropped"] += sum(shadows.dropped for shadows in classroom.shadows)
    found["nobody could tell"] += max(0, len(classroom.asked) - len(classroom.kept))
    found["began anew"] += len(classroom.shadows) - 1
    is_poor = not classroom.terms.usd_per_day or not classroom.terms.tokens_per_day
    found["refused for want of money"] += is_poor and any(
        errand.outcome.at == "edge" and errand.lesson.role is Role.CERTIFY
        for errand, is_pair in classroom.shown
        if is_pair
    )
    return Counter({word: count for word, count in found.items() if word in MUST_REACH and count})


def _roles(placed: Iterable[Any]) -> Iterable[str]:
    for entry in placed:
        if any("gap" in candidate["estimate"] for candidate in entry["candidates"]):
            yield entry["ask"].get("role") or "no role"


def _words(classroom: Classroom, outcome: Mapping[str, Any]) -> Iterable[str]:
    unsure = [attempt["target"] for attempt in outcome.get("attempts", ()) if attempt["failure"] == UNSURE]
    if unsure:
        yield "unsure"
    if outcome["ending"] == "answered" and outcome.get("target") in unsure:
        yield "spare given"
    purpose = outcome.get("purpose", "")
    if purpose == "shadow" and outcome["ending"] == "left" and len(classroom.shadows) == 1:
        yield "gave way"
    if purpose == "judge" and outcome["ending"] == "answered" and outcome.get("at") == "cloud":
        yield "judged in the cloud"
