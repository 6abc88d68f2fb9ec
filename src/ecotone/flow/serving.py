"""The corridor: one request in, one answer out. The only place that holds a request's control flow."""

from __future__ import annotations

import asyncio

import msgspec

from ecotone import privacy
from ecotone.flow.accounts import Bill
from ecotone.flow.answer import Answer
from ecotone.flow.attempt import Try
from ecotone.flow.handover import CAPABILITY, CONTINUED, Continuation, continued, is_continuable
from ecotone.flow.hedging import DELAY_S_MIN, OUTRUN, Lane, Race, Sign
from ecotone.flow.lessons import UNSURE, Errand, Lesson, is_sure, learn_from, lesson, with_signs
from ecotone.flow.looking import look_on
from ecotone.flow.patience import CLOCK_BLUR_S, reserve_s, telling_s, watch
from ecotone.flow.planning import Plan, entry, plan, refusal
from ecotone.flow.preparing import Ready, prepare
from ecotone.flow.racing import first_told, stop
from ecotone.flow.relay import LATE, Limits, Relay
from ecotone.flow.site import Site
from ecotone.flow.telling import debug, exhausted
from ecotone.flow.turns import turn
from ecotone.ports import Caller, Stream
from ecotone.values import (
    DeadlineError,
    EcotoneError,
    Outcome,
    Permit,
    Place,
    Receipt,
    RefusalError,
    Request,
    RequestError,
    TargetError,
)
from ecotone.values import reasons as why
from ecotone.wire.answer import error_object, is_context_error

Leave = tuple[Permit | None, Receipt | None]
"""What egress asks for; (None, None) at the edge."""


async def serve(request: Request, caller: Caller, site: Site) -> Outcome:
    """Answers one request, or tells the caller why not. Ends exactly once, with one outcome entry.

    Cancelling the task means that the caller left: the attempt under way is stopped at once.
    """
    run = _Run(request, caller, site)
    try:
        await run.go()
    except EcotoneError as error:
        run.ending = "refused" if run.ending == "internal" else run.ending
        run.answer.reason = run.answer.reason or f"refused.{error.code}"
        run.answer.fail(error)
        run.failure = run.failure or error.code
    except asyncio.CancelledError:
        run.left()
        raise
    finally:
        run.answer.close()
        outcome = run.record()
    return outcome


class _Run:
    """The state of one request on its way."""

    def __init__(self, request: Request, caller: Caller, site: Site) -> None:
        self.request = request
        self.site = site
        self.answer = Answer(request, caller, site.clock, site.waits.keep_alive_s)
        self.bill = Bill(site, request)
        self.ending = "internal"
        self.failure = ""
        self.broken: Try | None = None
        self.spare: Try | None = None
        self.lesson: Lesson | None = None
        self.decided: Plan | None = None
        self.is_continuable = False
        self.queued_s = 0.0

    async def go(self) -> None:
        """Decide, then act within the deadline."""
        site, request = self.site, self.request
        latest_s = request.received_at_s + site.waits.total_s
        until_s = latest_s if request.deadline_at_s is None else min(request.deadline_at_s, latest_s)
        findings = privacy.inspect(request, site.look)
        if findings.body is not None:
            self.request = request = msgspec.structs.replace(request, body=findings.body)
        self.is_continuable = is_continuable(request) and site.model(request.model).is_continued
        self.lesson = lesson(site, request)
        decided = plan(site, request, findings, self.lesson)
        order = decided.placement.order
        if order and decided.limit(order[0]).is_open:
            decided = await self.look_on(decided, until_s)
        self.decide(decided)
        if not decided.placement.order:
            raise refusal(site, decided, request.key)
        site.hedges.earn()
        await self.try_in_order(decided, until_s)

    async def look_on(self, decided: Plan, until_s: float) -> Plan:
        """Has the dear detectors look too, and decides again with what they saw."""
        site = self.site
        limit_s = min(site.waits.look_s, until_s - site.clock.now_s())
        return plan(site, self.request, await look_on(site, self.request, decided.findings, limit_s), self.lesson)

    def decide(self, decided: Plan) -> None:
        """Takes a decision, and notes it."""
        self.decided = decided
        if not self.bill.attempts:
            self.answer.reason = decided.placement.reason
        self.note("placed", entry(self.site, self.request, decided))

    def late(self) -> None:
        """Tells the caller that the time is over."""
        self.ending = self.failure = "deadline"
        whose = "limit of this site" if self.request.deadline_at_s is None else "deadline"
        self.answer.fail(DeadlineError("deadline", f"The {whose} passed before the answer was whole."))

    async def try_in_order(self, decided: Plan, until_s: float) -> None:
        """One target after the other, until one answers or the caller must be told."""
        waiting, tried = list(decided.placement.order), set[str]()
        while waiting:
            if decided.limit(waiting[0]).is_open:
                decided = await self.look_on(decided, until_s)
                self.decide(decided)
                waiting = [name for name in decided.placement.order if name not in tried]
                continue
            failure = await self.race(waiting, decided, until_s)
            if self.broken is not None:
                await self.continue_at_edge(self.broken, until_s)
                return
            tried.update(decided.placement.order)
            tried.difference_update(waiting)
            if failure is None:
                return
            self.answer.reason = why.ESCALATED_UNSURE if failure.code == UNSURE else f"fallback.{failure.code}"
            if self.site.clock.now_s() >= until_s:
                break
        if self.spare is not None:
            self.give(self.spare)
            return
        if waiting or self.site.clock.now_s() >= until_s:
            self.late()
            return
        self.ending = "failed"
        self.failure = self.bill.attempts[-1].failure
        raise exhausted(self.site, self.request, self.bill, decided)

    def give(self, spare: Try) -> None:
        """An answer that was not sure enough is better than none."""
        assert spare.relay is not None
        spare.relay.release()
        self.ending = "answered"
        self.bill.give(spare.relay)

    async def race(self, waiting: list[str], decided: Plan, until_s: float) -> TargetError | None:
        """The first of those that wait, and the second beside it where the first is slower than itself.

        Takes out of `waiting` whom it tries. What comes back is `attempt`'s: of whoever failed last.
        """
        race = Race()
        first = self.begin(waiting.pop(0), waiting, decided, race, until_s)
        delay_s = self.hedge_after_s(first.name, waiting, decided)
        if delay_s is None:
            return await self.attempt(first)
        loop = asyncio.get_running_loop()
        running = {loop.create_task(self.attempt(first)): first}
        race.on_win = lambda: _outrun(running, race)
        try:
            await asyncio.wait(running, timeout=delay_s)
            if race.winner is None and all(not task.done() for task in running) and self.may_hedge():
                second = self.begin(waiting.pop(0), waiting, decided, race, until_s)
                second.is_hedge = True
                running[loop.create_task(self.attempt(second))] = second
            return await first_told(running)
        finally:
            await stop(running)
            race.on_win = None

    async def continue_at_edge(self, broken: Try, until_s: float) -> None:
        """Has a target at the edge write on where an answer broke off; where none can, the caller is told."""
        assert broken.relay is not None
        assert broken.relay.failure is not None
        failure, text = broken.relay.failure, broken.relay.text or ""
        self.broken = None
        request = continued(self.request, text)
        for name in self.heirs(broken):
            told = {"from": broken.name, "to": name, "after_chars": len(text)}
            one = self.begin(name, [], broken.decided, Race(), until_s)
            one.request, one.told = request, told
            self.bill.continued = name
            if await self.attempt(one) is None or self.answer.is_over:
                return
            self.bill.continued = ""
        self.ending, self.failure = "broken", failure.code
        self.answer.fail(failure)

    def heirs(self, broken: Try) -> list[str]:
        """Targets at the edge that may and can write on, in the order of the model name's list."""
        relay, decided = broken.relay, broken.decided
        is_ours = broken.told is None and broken.target.spec.at is Place.CLOUD and self.answer.status == 200
        if not is_ours or relay is None or not relay.text or not self.site.model(self.request.model).is_continued:
            return []
        able = [name for name in decided.placement.order if decided.at(name) == Place.EDGE.value]
        return [name for name in able if CAPABILITY in (self.site.targets[name].spec.capabilities or ())]

    def hedge_after_s(self, name: str, waiting: list[str], decided: Plan) -> float | None:
        """Seconds after which this target is slower than itself; None where nobody else may start beside it."""
        if not waiting or not self.site.hedges.share or decided.limit(waiting[0]).is_open:
            return None
        if self.lesson is not None and decided.at(waiting[0]) == Place.EDGE.value:
            # Quality put it behind: an answer that only came sooner would be no part of what is promised.
            return None
        slow_s = decided.slow_s(name, is_stream=self.request.is_stream)
        return None if slow_s is None else max(slow_s, DELAY_S_MIN)

    def may_hedge(self) -> bool:
        """Whether there is room, and budget, for a second attempt beside the first."""
        return self.site.load.allows_hedges() and self.site.hedges.take()

    def begin(self, name: str, waiting: list[str], decided: Plan, race: Race, until_s: float) -> Try:
        """An attempt at this target that leaves time for the one after it."""
        now_s = self.site.clock.now_s()
        kept_s = reserve_s(decided.total_s_p50(waiting[0]), until_s - now_s) if waiting else 0.0
        one = Try(self.site.targets[name], decided, race, until_s, kept_s, now_s)
        if self.lesson is not None and decided.is_held(name, waiting):
            one.is_held = True
            one.request, one.is_stripped = with_signs(self.request, one.target.spec)
        return one

    async def attempt(self, one: Try) -> TargetError | None:
        """One try, when it is its turn. None where the caller has been answered or told; else the next may try.

        Raises:
            RequestError: the request itself is wrong, for any target.
        """
        site, asked_s = self.site, self.site.clock.now_s()
        latest_s = one.until_s - max(one.reserve_s, one.decided.work_s(one.name))
        try:
            seat = await turn(site, one.target.spec, self.request.key, latest_s)
        except TargetError as failure:
            return self.bill.missed(one.name, failure, one.began_s)
        except asyncio.CancelledError:
            self.stopped(one)
            raise
        try:
            self.queued_s += seat.since_s - asked_s
            return await self.attempt_now(one)
        finally:
            site.load.leave(seat, site.clock.now_s(), is_served=one.is_timely)

    async def attempt_now(self, one: Try) -> TargetError | None:
        """`attempt` with a slot."""
        site, breaker = self.site, self.site.breakers[one.name]
        one.ticket = breaker.admit(site.clock.now_s())
        if not one.ticket:
            return self.bill.missed(one.name, TargetError("breaker_open", "its breaker opened meanwhile"), one.began_s)
        try:
            ready = prepare(site, one.request or self.request, one.target, one.decided)
            if one.told is not None:
                reply = Continuation(ready.prepared.reply, one.told)
                ready = Ready(msgspec.structs.replace(ready.prepared, reply=reply))
            leave = await self.allowed(one, ready)
            verdict = await self.exchange(one, ready, leave)
        except TargetError as failure:
            breaker.left(one.ticket)
            return self.bill.missed(one.name, failure, one.began_s)
        except asyncio.CancelledError:
            self.stopped(one)
            raise
        except BaseException:
            breaker.left(one.ticket)
            raise
        return self.ended(one, verdict)

    def ended(self, one: Try, verdict: TargetError | None) -> TargetError | None:
        """Tells the breaker and telemetry how an attempt ended. What comes back is `attempt`'s."""
        site, relay = self.site, one.relay
        breaker, now_s = site.breakers[one.name], site.clock.now_s()
        assert relay is not None
        if verdict is None or verdict.code == "rejected":
            breaker.worked(one.ticket)
            site.telemetry.attempted(one.name, "", now_s - relay.began_at_s)
            return None
        if verdict.code == "context_exceeded":
            breaker.worked(one.ticket)
        elif verdict.code == UNSURE:
            breaker.worked(one.ticket)
            self.spare = one
        elif verdict.code == LATE:
            breaker.left(one.ticket)
            return None
        elif verdict.code == OUTRUN or (
            verdict.code == "too_slow" and now_s - relay.began_at_s < telling_s(one.decided.ttft_s_p95(one.name))
        ):
            breaker.left(one.ticket)
        else:
            breaker.failed(one.ticket, verdict.code, now_s, verdict.retry_after_s)
        self.bill.missed(one.name, verdict, relay.began_at_s)
        return None if self.answer.is_over else verdict

    def stopped(self, one: Try) -> None:
        """The caller left in the midst of an attempt, or another target's answer has begun."""
        if one.relay is not None and one.relay.is_whole:
            self.ending = "answered"
            self.ended(one, None)
            return
        if one.ticket:
            self.site.breakers[one.name].left(one.ticket)
        if one.race.winner is not None and (one.relay is None or not one.relay.is_committed):
            self.bill.missed(one.name, TargetError(OUTRUN, "another target answered first"), one.began_s)

    async def allowed(self, one: Try, ready: Ready) -> Leave:
        """For the cloud: budget, permit, and a ledger entry that is durable before the first byte (invariants 1, 2).

        Raises:
            TargetError: it may not go there after all; the next target may still serve.
        """
        spec, site, prepared = one.target.spec, self.site, ready.prepared
        if spec.at is Place.EDGE:
            return None, None
        usd_left, bytes_left = site.spend.left(site.budgets)
        price_usd = one.decided.price_usd(spec.name)
        is_poor = usd_left is not None and (usd_left <= 0 or price_usd > usd_left)
        if is_poor or (bytes_left is not None and len(prepared.body) > bytes_left):
            raise TargetError("budget", "the day's cloud budget was used up meanwhile")
        permit = site.mint.permit(
            request=self.request.id,
            spec=spec,
            origin=one.target.origin,
            body=prepared.body,
            limit=one.decided.limit(spec.name),
            transform=prepared.transform,
        )
        size = len(prepared.body)
        site.spend.hold(price_usd, size)
        try:
            async with asyncio.timeout_at(one.until_s):
                receipt = await site.journal.permit(
                    permit, body_bytes=size, labels=one.decided.labels, region=spec.region, replaced=ready.replaced
                )
        except RefusalError as error:
            raise TargetError("egress_refused", error.message) from error
        except TimeoutError as error:
            raise TargetError("egress_refused", "the ledger's entry was not durable before the deadline") from error
        finally:
            site.spend.settle(price_usd, size, 0.0, 0)
        return permit, receipt

    async def exchange(self, one: Try, ready: Ready, leave: Leave) -> TargetError | None:
        """Opens the attempt and waits for its end. See `judged` for what comes back."""
        site, spec, prepared, waits = self.site, one.target.spec, ready.prepared, self.site.waits
        now_s = site.clock.now_s()
        patient_s = now_s + (waits.first_byte_s if prepared.is_stream else waits.whole_s)
        limits = self.limits(one, patient_s)
        if not self.bill.attempts and one.race.winner is None:
            self.bill.overhead_s = self.bill.overhead_s or now_s - self.request.received_at_s - self.queued_s
        said = debug(self.bill, prepared, one.decided, spec.name) if self.request.is_debug else ()
        reason = f"fallback.{OUTRUN}" if one.is_hedge else ""
        sign = Sign(spec.name, spec.at.value, [*said], reason)
        lane = Lane(self.answer, one.race, sign, is_second_half=one.told is not None)
        relay = one.relay = lane.relay = Relay(self.request, prepared, lane, site.clock, limits)
        relay.is_stripped = one.is_stripped
        if one.is_held:
            relay.verdict = lambda answer: self.is_sure(one, answer)
        if not one.is_hedge and one.told is None:
            lane.show()
            self.answer.attach(relay)
        active, _ = one.target.load()
        size = len(prepared.body) if spec.at is Place.CLOUD else 0
        held_usd = one.decided.price_usd(spec.name) if spec.at is Place.CLOUD else 0.0
        site.spend.hold(held_usd, size)
        stream: Stream | None = None
        breaker, silence = site.breakers[one.name], None
        relay.on_head = breaker.hear
        if spec.at is Place.CLOUD and one.reserve_s:
            slow_s = one.decided.slow_s(spec.name, is_stream=prepared.is_stream)
            silence = watch(relay, breaker, site.clock, telling_s(slow_s))
        try:
            stream = one.target.open(prepared, relay, *leave)
            one.is_timely = not one.target.load()[1]
            relay.watch(stream)
            failure = await relay.settled
        finally:
            if stream is not None:
                stream.abort()
            relay.close()
            if silence is not None:
                silence.cancel()
            if one.race.winner in (None, lane):
                self.answer.attach(None)
            self.bill.add(one.target, relay, ready, (held_usd, size), was_queued=active >= spec.slots)
        is_hurried = limits.first_by_s < patient_s and site.clock.now_s() >= limits.first_by_s - CLOCK_BLUR_S
        if failure is not None and (one.is_held and failure.code == LATE):
            failure = TargetError("too_slow", failure.message)
        if failure is not None and failure.code == "first_byte_timeout" and is_hurried:
            failure = TargetError("too_slow", failure.message)
        return self.judged(one, relay, failure)

    def limits(self, one: Try, patient_s: float) -> Limits:
        """What bounds an attempt that may take until `patient_s` to begin its answer."""
        waits, lesson = self.site.waits, self.lesson
        first_by_s = min(patient_s, one.until_s - one.reserve_s)
        return Limits(
            first_by_s,
            # What is held back must be whole while there is time for the next target.
            one.until_s - one.reserve_s if one.is_held else one.until_s,
            waits.idle_s,
            waits.answer_bytes_max,
            keeps_text=one.target.spec.at is Place.CLOUD and self.is_continuable,
            keeps_answer=one.is_held or (lesson is not None and lesson.concerns(one.name)),
        )

    def is_sure(self, one: Try, answer: bytes) -> bool:
        """Whether the edge's answer may be given, by what it shows itself."""
        assert self.lesson is not None
        return is_sure(self.site, self.request, self.lesson, one.name, answer, self.site.clock.now_s() - one.began_s)

    def judged(self, one: Try, relay: Relay, failure: TargetError | None) -> TargetError | None:
        """None: answered. Else the failure; `answer.is_over` then tells whether the caller has been told."""
        if failure is None:
            self.ending = "answered"
        elif failure.code == LATE:
            self.late()
        elif relay.is_committed and failure.code in CONTINUED and self.heirs(one):
            self.broken = one
        elif relay.is_committed:
            self.ending, self.failure = "broken", failure.code
            self.answer.fail(failure)
        elif failure.code == "rejected" and (relay.status == 413 or is_context_error(relay.error_body)):
            return TargetError("context_exceeded", failure.message)
        elif failure.code == "rejected":
            self.ending, self.failure = "rejected", "rejected"
            told = error_object(relay.error_body) if self.answer.status == 0 else None
            if told is not None:
                self.answer.reject(relay.status, told)
            else:
                words = f"The target rejects the request with HTTP {relay.status}."
                self.answer.fail(RequestError("rejected", words, status=relay.status))
        return failure

    def left(self) -> None:
        """The caller went away (after a whole answer that is no loss)."""
        if not self.answer.is_over:
            self.ending, self.failure = "left", "left"

    def record(self) -> Outcome:
        """Exactly one outcome, to the ledger and to telemetry."""
        outcome = self.bill.outcome(self.answer, self.ending, self.failure)
        self.note("outcome", outcome)
        self.site.telemetry.ended(outcome)
        if self.lesson is not None and self.decided is not None:
            learn_from(self.site, Errand(self.request, self.lesson, outcome, self.bill.answer), self.decided)
        return outcome

    def note(self, kind: str, entry: msgspec.Struct) -> None:
        """To the ledger. Where it cannot be written the edge still answers; the cloud gets no permit (`allowed`)."""
        try:
            self.site.journal.note(kind, entry)
        except RefusalError as error:
            self.site.telemetry.attempted("ledger", error.code, 0.0)


Running = dict[asyncio.Task[TargetError | None], Try]


def _outrun(running: Running, race: Race) -> None:
    """Stops whoever did not win."""
    for task, one in running.items():
        if race.winner is not None and one.relay is not race.winner.relay:
            task.cancel()
