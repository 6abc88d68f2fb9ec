"""The corridor: one request in, one answer out. The only place that holds a request's control flow."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from ecotone import privacy
from ecotone.estimate import Observation
from ecotone.flow.answer import Answer
from ecotone.flow.looking import look_on
from ecotone.flow.planning import Plan, entry, plan, refusal
from ecotone.flow.preparing import Ready, prepare
from ecotone.flow.relay import LATE, Limits, Relay, tokens
from ecotone.flow.site import Site
from ecotone.ports import Caller, Prepared, Stream, Target
from ecotone.values import (
    Attempt,
    DeadlineError,
    EcotoneError,
    Outcome,
    Permit,
    Place,
    PlacementError,
    Receipt,
    RefusalError,
    Request,
    RequestError,
    TargetError,
)
from ecotone.wire.answer import error_object, is_context_error

RESERVE_S_MAX: Final = 5.0
"""At most this much of a deadline, and at most half of what is left of it, is kept back for the next target."""

SILENCE_S: Final = 5.0
"""Silence that counts against a target of which nothing was measured yet."""

Leave = tuple[Permit | None, Receipt | None]
"""What egress asks for; (None, None) at the edge."""


class OutcomeEntry(Outcome, frozen=True, kw_only=True, omit_defaults=True):
    """The ledger's outcome entry: how it ended, and the day's running totals, so that a start reads one entry."""

    day: str = ""
    day_usd: float = 0.0
    day_egress_bytes: int = 0


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
        self.ending = "internal"
        self.failure = ""
        self.relay: Relay | None = None
        self.attempts: list[Attempt] = []
        self.cost_usd = 0.0
        self.egress_bytes = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.answer_bytes = 0
        self.overhead_s = 0.0
        self.restored = 0
        self.unrestored = 0

    async def go(self) -> None:
        """Decide, then act within the deadline."""
        site, request = self.site, self.request
        latest_s = request.received_at_s + site.waits.total_s
        until_s = latest_s if request.deadline_at_s is None else min(request.deadline_at_s, latest_s)
        findings = privacy.inspect(request, site.look)
        if findings.body is not None:
            self.request = request = msgspec.structs.replace(request, body=findings.body)
        decided = plan(site, request, findings)
        order = decided.placement.order
        if order and decided.limit(order[0]).is_open:
            decided = await self.look_on(decided, until_s)
        self.decide(decided)
        if not decided.placement.order:
            raise refusal(site, decided)
        await self.try_in_order(decided, until_s)

    async def look_on(self, decided: Plan, until_s: float) -> Plan:
        """Has the dear detectors look too, and decides again with what they saw."""
        site = self.site
        limit_s = min(site.waits.look_s, until_s - site.clock.now_s())
        return plan(site, self.request, await look_on(site, self.request, decided.findings, limit_s))

    def decide(self, decided: Plan) -> None:
        """Takes a decision, and notes it."""
        if not self.attempts:
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
            name = waiting.pop(0)
            tried.add(name)
            target = self.site.targets[name]
            following = waiting[0] if waiting else None
            reserve_s = 0.0
            if following is not None:
                left_s = max(0.0, until_s - self.site.clock.now_s())
                reserve_s = min(decided.total_s_p50(following) or 0.0, RESERVE_S_MAX, left_s / 2)
            failure = await self.attempt(target, decided, until_s, reserve_s)
            if failure is None:
                return
            self.answer.reason = f"fallback.{failure.code}"
            if self.site.clock.now_s() >= until_s:
                self.late()
                return
        self.ending = "failed"
        raise self.exhausted(decided)

    async def attempt(self, target: Target, decided: Plan, until_s: float, reserve_s: float) -> TargetError | None:
        """One try. None where the caller has been answered or told; a failure where the next target may try.

        Args:
            until_s: The instant when the whole request must be over.
            reserve_s: What this target must leave of that for the next one, unless its answer has begun.

        Raises:
            RequestError: the request itself is wrong, for any target.
        """
        site, breaker = self.site, self.site.breakers[target.spec.name]
        began_s = site.clock.now_s()
        self.relay = None
        ticket = breaker.admit(began_s)
        if not ticket:
            return self.missed(target, TargetError("breaker_open", "its breaker opened meanwhile"), began_s)
        try:
            ready = prepare(site, self.request, target, decided)
            leave = await self.allowed(target, ready, decided, until_s)
            try:
                verdict = await self.exchange(target, ready.prepared, leave, decided, (until_s - reserve_s, until_s))
            finally:
                self.count(ready)
        except TargetError as failure:
            breaker.left(ticket)
            return self.missed(target, failure, began_s)
        except asyncio.CancelledError:
            self.stopped(target, decided, ticket)
            raise
        except BaseException:
            breaker.left(ticket)
            raise
        return self.ended(target, decided, ticket, verdict)

    def ended(self, target: Target, decided: Plan, ticket: int, verdict: TargetError | None) -> TargetError | None:
        """Tells the breaker and telemetry how an attempt ended. What comes back is `attempt`'s."""
        site, name = self.site, target.spec.name
        breaker, now_s, relay = site.breakers[name], site.clock.now_s(), self.relay
        assert relay is not None
        if verdict is None or verdict.code == "rejected":
            breaker.worked(ticket)
            site.telemetry.attempted(name, "", now_s - relay.began_at_s)
            return None
        if verdict.code == "context_exceeded":
            breaker.worked(ticket)
        elif verdict.code == LATE:
            breaker.left(ticket)
            return None
        elif verdict.code == "too_slow" and not is_telling(decided.ttft_s_p95(name), now_s - relay.began_at_s):
            breaker.left(ticket)
        else:
            breaker.failed(ticket, verdict.code, now_s, verdict.retry_after_s)
        self.missed(target, verdict, relay.began_at_s)
        return None if self.answer.is_over else verdict

    def stopped(self, target: Target, decided: Plan, ticket: int) -> None:
        """The caller left in the midst of an attempt."""
        if self.relay is not None and self.relay.is_whole:
            self.ending = "answered"
            self.ended(target, decided, ticket, None)
        else:
            self.site.breakers[target.spec.name].left(ticket)

    def missed(self, target: Target, failure: TargetError, began_s: float) -> TargetError:
        """Counts a failed attempt."""
        site, name = self.site, target.spec.name
        now_s = site.clock.now_s()
        self.attempts.append(Attempt(name, failure.code, now_s - began_s))
        site.telemetry.attempted(name, failure.code, now_s - began_s)
        site.telemetry.condition(name, site.breakers[name].condition(now_s, in_flight=0, waiting=0))
        return failure

    def count(self, ready: Ready) -> None:
        """What became of the surrogates in an answer."""
        if ready.restorer is not None:
            counts = ready.restorer.counts
            self.restored += counts.restored
            self.unrestored += counts.left + counts.unknown

    async def allowed(self, target: Target, ready: Ready, decided: Plan, until_s: float) -> Leave:
        """For the cloud: budget, permit, and a ledger entry that is durable before the first byte (invariants 1, 2).

        Raises:
            TargetError: it may not go there after all; the next target may still serve.
        """
        spec, site, prepared = target.spec, self.site, ready.prepared
        if spec.at is Place.EDGE:
            return None, None
        usd_left, bytes_left = site.spend.left(site.budgets)
        price_usd = decided.price_usd(spec.name)
        is_poor = usd_left is not None and (usd_left <= 0 or price_usd > usd_left)
        if is_poor or (bytes_left is not None and len(prepared.body) > bytes_left):
            raise TargetError("budget", "the day's cloud budget was used up meanwhile")
        permit = site.mint.permit(
            request=self.request.id,
            spec=spec,
            origin=target.origin,
            body=prepared.body,
            limit=decided.limit(spec.name),
            transform=prepared.transform,
        )
        size = len(prepared.body)
        site.spend.hold(price_usd, size)
        try:
            async with asyncio.timeout_at(until_s):
                receipt = await site.journal.permit(
                    permit, body_bytes=size, labels=decided.labels, region=spec.region, replaced=ready.replaced
                )
        except RefusalError as error:
            raise TargetError("egress_refused", error.message) from error
        except TimeoutError as error:
            raise TargetError("egress_refused", "the ledger's entry was not durable before the deadline") from error
        finally:
            site.spend.settle(price_usd, size, 0.0, 0)
        return permit, receipt

    async def exchange(
        self,
        target: Target,
        prepared: Prepared,
        leave: Leave,
        decided: Plan,
        by_s: tuple[float, float],
    ) -> TargetError | None:
        """Opens the attempt and waits for its end. See `judged` for what comes back.

        Args:
            by_s: Instants by which the answer must begin, and by which it must be whole.
        """
        site, spec, waits = self.site, target.spec, self.site.waits
        now_s = site.clock.now_s()
        patient_s = now_s + (waits.first_byte_s if prepared.is_stream else waits.whole_s)
        limits = Limits(min(patient_s, by_s[0]), by_s[1], waits.idle_s, waits.answer_bytes_max)
        relay = Relay(self.request, prepared, self.answer, site.clock, limits)
        self.relay = relay
        answer = self.answer
        answer.target, answer.at = spec.name, spec.at.value
        if not self.attempts:
            self.overhead_s = now_s - self.request.received_at_s
        if self.request.is_debug:
            answer.debug = self.debug(prepared, decided, spec.name)
        active, _ = target.load()
        answer.attach(relay)
        size = len(prepared.body) if spec.at is Place.CLOUD else 0
        held_usd = decided.price_usd(spec.name) if spec.at is Place.CLOUD else 0.0
        site.spend.hold(held_usd, size)
        stream: Stream | None = None
        try:
            stream = target.open(prepared, relay, *leave)
            relay.watch(stream)
            failure = await relay.settled
        finally:
            if stream is not None:
                stream.abort()
            relay.close()
            answer.attach(None)
            self.account(target, relay, (held_usd, size), was_queued=active >= spec.slots)
        if failure is not None and failure.code == "first_byte_timeout" and limits.first_by_s < patient_s:
            failure = TargetError("too_slow", failure.message)
        return self.judged(relay, failure)

    def judged(self, relay: Relay, failure: TargetError | None) -> TargetError | None:
        """None: answered. Else the failure; `answer.is_over` then tells whether the caller has been told."""
        if failure is None:
            self.ending = "answered"
        elif failure.code == LATE:
            self.late()
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

    def account(self, target: Target, relay: Relay, held: tuple[float, int], *, was_queued: bool) -> None:
        """Cost, bytes and speed of one attempt; partial streams count, and so does one whose caller left."""
        spec, site, request = target.spec, self.site, self.request
        tokens_in, tokens_out = tokens(relay, request)
        cost_usd = spec.price.cost_usd(tokens_in, tokens_out)
        if spec.at is Place.CLOUD:
            site.spend.settle(*held, cost_usd, held[1])
            self.cost_usd += cost_usd
            self.egress_bytes += held[1]
        self.input_tokens, self.output_tokens = tokens_in, tokens_out
        self.answer_bytes += relay.answer_bytes
        if relay.first_at_s is None:
            return
        is_paced = relay.events > 1 and not relay.has_paused
        if relay.events == 0:
            # An answer in one piece: how it splits into first token and pace cannot be seen.
            self.learn_whole(target, relay, tokens_out, was_queued=was_queued)
            return
        spread_s = relay.last_at_s - relay.first_at_s
        site.speeds.observe(
            spec.name,
            Observation(
                prompt_tokens=request.features.prompt_tokens,
                ttft_s=relay.first_at_s - relay.began_at_s,
                tpot_s=spread_s / (tokens_out - 1) if is_paced and tokens_out > 1 else None,
                output_tokens=tokens_out if relay.is_whole else None,
                was_queued=was_queued,
            ),
        )

    def learn_whole(self, target: Target, relay: Relay, tokens_out: int, *, was_queued: bool) -> None:
        """Teaches the estimates from an answer in one piece."""
        assert relay.first_at_s is not None
        self.site.speeds.observe_whole(
            target.spec.name,
            prompt_tokens=self.request.features.prompt_tokens,
            total_s=relay.first_at_s - relay.began_at_s,
            output_tokens=tokens_out,
            was_queued=was_queued,
        )

    def debug(self, prepared: Prepared, decided: Plan, name: str) -> list[tuple[str, str]]:
        """The headers of `Ecotone-Debug: 1`."""
        egress = len(prepared.body) if decided.at(name) == Place.CLOUD.value else 0
        tried = [f"{attempt.target}={attempt.failure}" for attempt in self.attempts]
        return [
            ("Ecotone-Overhead-Ms", f"{self.overhead_s * 1e3:.3f}"),
            ("Ecotone-Attempts", ", ".join([*tried, name])),
            ("Ecotone-Labels", ", ".join(decided.labels)),
            ("Ecotone-Cost-Usd", f"{decided.price_usd(name):.6f}"),
            ("Ecotone-Egress-Bytes", str(self.egress_bytes + egress)),
        ]

    def exhausted(self, decided: Plan) -> EcotoneError:
        """The error after every target failed: all their reasons, and when to try again."""
        last = self.attempts[-1]
        self.failure = last.failure
        held_back = [f"{loss.target}: {loss.obstacle}" for loss in decided.placement.lost if loss.obstacle == "policy"]
        told = "; ".join([*(f"{attempt.target}: {attempt.failure}" for attempt in self.attempts), *held_back])
        message = f"Every target failed. {told}"
        now_s = self.site.clock.now_s()
        waits_s = [
            self.site.breakers[attempt.target].condition(now_s, in_flight=0, waiting=0).retry_in_s
            for attempt in self.attempts
        ]
        retry_after_s = max(1.0, min(waits_s))
        failures = {attempt.failure for attempt in self.attempts}
        if failures == {"context_exceeded"}:
            return RequestError("context_length_exceeded", message, param="messages")
        if failures == {"rate_limited"}:
            return RefusalError("refused.rate_limited", message, status=429, retry_after_s=retry_after_s)
        return PlacementError("refused.all_failed", message, retry_after_s=retry_after_s)

    def left(self) -> None:
        """The caller went away (after a whole answer that is no loss)."""
        if not self.answer.is_over:
            self.ending, self.failure = "left", "left"

    def record(self) -> Outcome:
        """Exactly one outcome, to the ledger and to telemetry."""
        site, request, answer = self.site, self.request, self.answer
        now_s = site.clock.now_s()
        outcome = OutcomeEntry(
            request=request.id,
            model=request.model,
            endpoint=request.endpoint.value,
            key=request.key,
            ending=self.ending,
            reason=answer.reason,
            status=answer.status,
            target=answer.target,
            at=answer.at,
            failure=self.failure,
            is_stream=request.is_stream,
            ttft_s=None if answer.first_at_s is None else answer.first_at_s - request.received_at_s,
            total_s=now_s - request.received_at_s,
            overhead_s=self.overhead_s,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost_usd=self.cost_usd,
            egress_bytes=self.egress_bytes,
            answer_bytes=self.answer_bytes,
            restored=self.restored,
            unrestored=self.unrestored,
            attempts=tuple(self.attempts),
            day=site.spend.day,
            day_usd=site.spend.usd,
            day_egress_bytes=site.spend.egress_bytes,
        )
        self.note("outcome", outcome)
        site.telemetry.ended(outcome)
        return outcome

    def note(self, kind: str, entry: msgspec.Struct) -> None:
        """To the ledger. Where it cannot be written the edge still answers; the cloud gets no permit (`allowed`)."""
        try:
            self.site.journal.note(kind, entry)
        except RefusalError as error:
            self.site.telemetry.attempted("ledger", error.code, 0.0)


def is_telling(ttft_s_p95: float | None, waited_s: float) -> bool:
    """Whether silence for so long says something about the target rather than about a caller's short deadline."""
    return waited_s >= (SILENCE_S if ttft_s_p95 is None else max(1.0, 3.0 * ttft_s_p95))
