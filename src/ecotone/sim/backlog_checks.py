"""What must be true of every job of a history, mostly from its caller's side; and what was reached."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ecotone import flow, placement
from ecotone.flow.draining import GIVE_WAY_EVERY_S, LOOK_EVERY_S
from ecotone.jobs.lifecycle import Event
from ecotone.sim.backlog import LEASE_S, Backlog, Errand, errand_of
from ecotone.sim.time import START_WALL_S
from ecotone.sim.watched import FAR_MS, Move, Sitting
from ecotone.sim.world import MadeTarget
from ecotone.values import ENDED, Job, JobState, Wish
from ecotone.values import reasons as why

LATE_S: Final = LOOK_EVERY_S + 0.05
"""A job that waits ends so long after its deadline at the latest."""

WORKED_S: Final = 1.5
"""One that is worked on: a whole answer's transfer may take a second to end, and it has to be written down."""

STOPPED_S: Final = 0.3
"""So long after a job's end whoever still works on it has been told."""

SOON_S: Final = GIVE_WAY_EVERY_S + 0.01

MUST_REACH: Final = frozenset(
    {
        *(state.value for state in ENDED),
        *(reason for reason in why.DEFERRALS if reason.startswith("deferred.")),
        "failed.attempts", "lease lapsed", "gave way", "moved to the edge", "refused at once", "queue full",
        "asked again", "aged", "cancelled in vain", "cancelled at work", "store refused", "restarted at work",
        "clock set back", "clock set ahead",
    }
)  # fmt: skip
"""What the jobs of enough histories go through."""

Entries = Mapping[str, Mapping[str, Sequence[Any]]]


class Life(msgspec.Struct):
    """One job: what its caller knows, and what happened."""

    job: Job
    errand: Errand
    moves: list[Move]
    attempts: list[str]

    @property
    def ended_s(self) -> float:
        """Virtual instant of its first end."""
        return next((move.at_s for move in self.moves if move.job.state in ENDED), float("inf"))


def lives(backlog: Backlog, entries: Entries) -> list[Life]:
    """All jobs that were ever accepted."""
    errands = {errand.id: errand for errand in backlog.errands}
    moves: dict[str, list[Move]] = defaultdict(list)
    for move in backlog.queue.moves:
        moves[move.job.id].append(move)
    begun: dict[str, list[str]] = defaultdict(list)
    for request, mine in entries.items():
        for note in mine.get("job", ()):
            begun[note["job"]].append(request)
    return [Life(job, errands[errand_of(job)], moves[job.id], begun[job.id]) for job in backlog.queue.all_jobs()]


def check_backlog(
    backlog: Backlog, targets: Mapping[str, MadeTarget], sittings: Sequence[Sitting], entries: Entries
) -> Iterable[str]:
    """Every broken invariant, in words."""
    yield from backlog.queue.problems
    found = lives(backlog, entries)
    for life in found:
        for problem in (
            *_check_end(backlog, life),
            *_check_deadline(backlog, life),
            *_check_answer(backlog, life, targets),
            *_check_bytes(life, targets),
            *_check_ledger(life, entries),
            *_check_done(backlog, life, targets, entries),
        ):
            yield f"{life.job.id}: {problem}"
    for errand in backlog.errands:
        yield from (f"{errand.id}: {problem}" for problem in _check_acceptance(errand, found, targets))
    yield from _check_slots(backlog, found, sittings)


def _check_end(backlog: Backlog, life: Life) -> Iterable[str]:
    """Invariant 5: it ended, once, and stays as it ended."""
    ends = backlog.queue.ends[life.job.id]
    if life.job.state not in ENDED or len(ends) != 1 or ends[0] is not life.job.state:
        yield f"is {life.job.state}, was told to have ended as {ends}"
    if any(move.at_s > life.ended_s for move in life.moves):
        yield "changed after its end"
    told = life.errand.state_told
    if told in ENDED and told is not life.job.state:
        yield f"its caller was told that it is {told}, and it is {life.job.state}"


def _check_acceptance(errand: Errand, found: Sequence[Life], targets: Mapping[str, MadeTarget]) -> Iterable[str]:
    """Accepted once, or refused with a word and, where it may come again, a time; what was refused is never done."""
    mine = [life.job.id for life in found if life.errand is errand]
    if set(errand.names) - set(mine) or len(mine) > 1 or len(set(errand.names)) > 1:
        yield f"asked for once, jobs {mine}, told {errand.names}"
    for error in errand.refusals:
        if error.status == 429 and not getattr(error, "retry_after_s", None):
            yield f"refused for want of room without Retry-After: {error.code}"
    if not mine and any(errand.id in target.bodies for target in targets.values()):
        yield "was refused, and done"


def _check_deadline(backlog: Backlog, life: Life) -> Iterable[str]:
    """Ended by its deadline: soon after it where it waits, with the end of its attempt where somebody works on it."""
    held_s = max([0.0, *(end for begin, end in backlog.disk.cuts if begin < life.ended_s)])
    for move, after in itertools.pairwise(life.moves):
        if move.job.state is not JobState.WAITING or after.job.state is JobState.WAITING:
            continue
        late_s = _first_late_s(backlog, life.job, max(move.at_s, held_s, _lapsed_s(backlog, life)))
        if after.at_s > late_s + LATE_S + 15 * backlog.latency_s:
            yield f"waited until {after.at_s:.3f} s, its deadline was at {late_s:.3f} s"
    shifts = [shift for at_s, shift in backlog.clock.shifts if at_s <= life.ended_s]
    latest_s = max(life.job.deadline_at_ms / 1e3 - START_WALL_S - shift for shift in shifts)
    latest_s = max(latest_s, held_s + LEASE_S if held_s else 0.0, _lapsed_s(backlog, life))
    if life.ended_s > latest_s + LATE_S + WORKED_S + 15 * backlog.latency_s:
        yield f"ended at {life.ended_s:.3f} s, {life.ended_s - latest_s:.3f} s after its deadline"


def _lapsed_s(backlog: Backlog, life: Life) -> float:
    """When the lease of a holder that died during the job's life had lapsed at the latest."""
    return max([0.0, *(at_s + LEASE_S for what, at_s in backlog.befell if what == "worker" and at_s < life.ended_s)])


def _first_late_s(backlog: Backlog, job: Job, from_s: float) -> float:
    """The first virtual instant from this one on at which the wall clock is behind the deadline and stays so."""
    shifts = backlog.clock.shifts
    ends = [at_s for at_s, _ in shifts[1:]] + [float("inf")]
    for (begin_s, shift), end_s in zip(shifts, ends, strict=True):
        at_s = max(from_s, begin_s, job.deadline_at_ms / 1e3 - START_WALL_S - shift)
        if at_s + LATE_S < end_s:
            return at_s
    return float("inf")


def _check_answer(backlog: Backlog, life: Life, targets: Mapping[str, MadeTarget]) -> Iterable[str]:
    """Invariant 4: the whole answer of one attempt that was made for this job, or an error that says so."""
    job, body = life.job, backlog.queue.body_of(life.job.id)
    if body is None:
        if job.state not in (JobState.EXPIRED, JobState.CANCELLED):
            yield f"{job.state} without a word"
        return
    said = msgspec.json.decode(body)
    if job.state is not JobState.ANSWERED:
        if "error" not in said:
            yield f"{job.state} without an error object"
        return
    text, attempt = said["choices"][0]["message"]["content"], said["model"]
    target = targets[attempt.split(".")[0]]
    if text != target.served[attempt] or not text:
        yield f"not the answer of {attempt}: {text!r} of {target.served[attempt]!r}"
    if target.asked_by[attempt] != life.errand.id:
        yield f"the answer to {target.asked_by[attempt]}"
    if (job.status, job.target, job.at) != (200, target.spec.name, target.spec.at.value):
        yield f"told to be of {job.target} ({job.at}), HTTP {job.status}; was of {attempt}"


def _check_bytes(life: Life, targets: Mapping[str, MadeTarget]) -> Iterable[str]:
    """Nothing of it reaches a target once it has ended."""
    for target in targets.values():
        for one in target.received:
            # A second answer, to compare, is begun when the first has been given.
            if one.request == life.errand.id and not one.purpose and one.at_s > life.ended_s + STOPPED_S:
                yield f"sent to {target.spec.name} {one.at_s - life.ended_s:.3f} s after its end ({life.job.state})"


def _check_ledger(life: Life, entries: Entries) -> Iterable[str]:
    """Each attempt is one request: one decision at least that replays, one outcome at most."""
    for request in life.attempts:
        mine = entries[request]
        if len(mine.get("outcome", ())) > 1:
            yield f"{len(mine['outcome'])} outcomes of {request}"
        for entry in mine.get("placed", ()):
            kept = msgspec.convert(entry, flow.PlacedEntry)
            if placement.decide(kept.ask, kept.candidates) != kept.placement:
                yield "the decision does not replay"


def _check_done(backlog: Backlog, life: Life, targets: Mapping[str, MadeTarget], entries: Entries) -> Iterable[str]:
    """Invariant 7: what a healthy edge may answer and has time is answered, whatever the cloud, the clock and the
    site's own process do.
    """
    job, errand, asked = life.job, life.errand, life.errand.asks_for
    ahead_s = max(shift for at_s, shift in backlog.clock.shifts if at_s < backlog.night_s)
    ahead_s -= min(shift for at_s, shift in backlog.clock.shifts if at_s < backlog.night_s)
    is_timely = errand.deadline_s > ahead_s + 150.0 and errand.cancels_after_s is None
    if asked["model"] != "auto" or job.wish is Wish.CLOUD or "tools" in asked or not is_timely:
        return
    if _is_put_off(backlog, life):
        return
    is_rejected = any(
        outcome["ending"] == "rejected" for request in life.attempts for outcome in entries[request].get("outcome", ())
    )
    for target in targets.values():
        nature, spec = target.nature, target.spec
        is_calm = nature.trouble == 0.0 and nature.ttft_s < 1.0
        is_wanted = backlog.is_edge_wanted and spec.name.startswith("edge")
        if is_calm and is_wanted and job.state is not JobState.ANSWERED and not is_rejected:
            yield f"{spec.name} could have answered; {job.state} ({job.reason}) after {job.attempts} attempts"


def _is_put_off(backlog: Backlog, life: Life) -> bool:
    """Whether the clock was set back after it was last told when it is looked at again: the night comes before that."""
    told_s = max((move.at_s for move in life.moves if move.job.state is JobState.WAITING), default=0.0)
    shifts = itertools.pairwise(backlog.clock.shifts)
    return any(after < before and told_s < at_s < backlog.night_s for (_, before), (at_s, after) in shifts)


def _goes_on(life: Life, sittings: Sequence[Sitting]) -> bool:
    """Whether its end stops nobody who works on it."""
    return any((one.left_s or 0.0) > life.ended_s + STOPPED_S for one in sittings if one.who[0] == life.job.id)


def _check_slots(backlog: Backlog, found: Sequence[Life], sittings: Sequence[Sitting]) -> Iterable[str]:
    """Jobs keep their number, nobody works on one twice at a time, and interactive work goes first."""
    yield from (f"{life.job.id}: somebody is still at work on it" for life in found if _goes_on(life, sittings))
    jobs = {life.job.id: life.job for life in found}
    ours = [sitting for sitting in sittings if sitting.who[0] and sitting.left_s is not None]
    for one, other in itertools.combinations(ours, 2):
        both_s = _together_s(one.asked_s, one.left_s, other.asked_s, other.left_s)
        if one.who[0] == other.who[0] and one.who[1] != other.who[1] and both_s > 0.01:
            yield f"{one.who[0]}: worked on twice at a time, for {both_s:.3f} s"
    for sitting in sittings:
        if not sitting.who[0] and sitting.target.startswith("edge"):
            yield from _check_turn(backlog, jobs, sitting, ours)
    for sitting in ours:
        beside = {one.who for one in ours if one.asked_s <= sitting.asked_s < (one.left_s or 0.0)}
        if len(beside) > backlog.drains.concurrent:
            yield f"{len(beside)} jobs at a time"


def _check_turn(backlog: Backlog, jobs: Mapping[str, Job], waiting: Sitting, ours: Sequence[Sitting]) -> Iterable[str]:
    """Whoever waits at the edge waits for no job that has time."""
    until_s = waiting.held_s if waiting.held_s is not None else waiting.left_s
    limit_s = SOON_S + GIVE_WAY_EVERY_S * backlog.drains.concurrent
    for sitting in ours:
        if sitting.target != waiting.target or sitting.held_s is None:
            continue
        # Urgent when it asked is urgent until that attempt ends, though the clock be set back meanwhile.
        wall_ms = max((START_WALL_S + at_s + _shift(backlog, at_s)) * 1e3 for at_s in (sitting.asked_s, sitting.held_s))
        both_s = _together_s(waiting.asked_s, until_s, sitting.held_s, sitting.left_s)
        if both_s > limit_s and jobs[sitting.who[0]].deadline_at_ms > wall_ms + FAR_MS:
            yield f"{waiting.who[1]} waits {both_s:.3f} s for {sitting.who[0]} at {waiting.target}"


def _together_s(a_s: float, b_s: float | None, c_s: float, d_s: float | None) -> float:
    """How long two spans are at the same time."""
    return min(b_s or 0.0, d_s or 0.0) - max(a_s, c_s)


def _shift(backlog: Backlog, at_s: float) -> float:
    return [shift for from_s, shift in backlog.clock.shifts if from_s <= at_s][-1]


def reached(backlog: Backlog, entries: Entries) -> Counter[str]:
    """What the jobs of a history went through: words of `MUST_REACH`, counted."""
    found: Counter[str] = Counter()
    for life in lives(backlog, entries):
        found.update(set(_passed(backlog, life, entries)))
    for errand in backlog.errands:
        codes = [error.code for error in errand.refusals]
        found["refused at once"] += not errand.names and bool(codes)
        found["queue full"] += "refused.queue_full" in codes
        found["store refused"] += "refused.store" in codes
        found["asked again"] += len(errand.names) > 1
    for (_, before), (_, after) in itertools.pairwise(backlog.clock.shifts):
        found["clock set ahead" if after > before else "clock set back"] += 1
    found["aged"] += backlog.queue.aged
    return Counter({word: count for word, count in found.items() if word in MUST_REACH and count})


def _passed(backlog: Backlog, life: Life, entries: Entries) -> Iterable[str]:
    job = life.job
    yield job.state.value
    yield job.reason
    endings = {outcome["ending"] for request in life.attempts for outcome in entries[request].get("outcome", ())}
    is_steady = not any(what in ("restart", "worker") for what, _ in backlog.befell)
    for before, move in itertools.pairwise(life.moves):
        yield move.job.reason
        if move.event is Event.LAPSED:
            yield "lease lapsed"
            if ("restart", move.at_s) in backlog.befell:
                yield "restarted at work"
        if move.event is Event.RELEASED and move.job.reason == "deferred.asked" and "left" in endings and is_steady:
            yield "gave way"
        if move.event is Event.CANCELLED and before.job.state is JobState.RUNNING:
            yield "cancelled at work"
    if life.errand.state_told in ENDED - {JobState.CANCELLED}:
        yield "cancelled in vain"
    was_offline = any(move.job.reason == "deferred.offline" for move in life.moves)
    if was_offline and job.wish is Wish.CLOUD and (job.state, job.at) == (JobState.ANSWERED, "edge"):
        yield "moved to the edge"
