"""What one request took: attempts, money, bytes, tokens, and what its answers teach the estimates."""

from __future__ import annotations

from ecotone.estimate import Observation
from ecotone.flow.answer import Answer
from ecotone.flow.preparing import Ready
from ecotone.flow.relay import Relay, tokens
from ecotone.flow.site import Site
from ecotone.ports import Target
from ecotone.values import Attempt, Outcome, Place, Request, TargetError


class OutcomeEntry(Outcome, frozen=True, kw_only=True, omit_defaults=True):
    """The ledger's outcome entry: how it ended, and the day's running totals, so that a start reads one entry."""

    day: str = ""
    day_usd: float = 0.0
    day_egress_bytes: int = 0


class Bill:
    """Running totals of one request, over all its attempts.

    Attributes:
        answer: The answer that the caller got, in one piece, where it was kept for comparing.
    """

    def __init__(self, site: Site, request: Request) -> None:
        self.attempts: list[Attempt] = []
        self.overhead_s = 0.0
        self.egress_bytes = 0
        self.continued = ""
        self.answer: bytes | None = None
        self._site = site
        self._request = request
        self._cost_usd = 0.0
        self._input_tokens = 0
        self._output_tokens = 0
        self._answer_bytes = 0
        self._restored = 0
        self._unrestored = 0

    def missed(self, target: str, failure: TargetError, began_s: float) -> TargetError:
        """Counts a failed attempt."""
        site = self._site
        now_s = site.clock.now_s()
        self.attempts.append(Attempt(target, failure.code, now_s - began_s))
        site.telemetry.attempted(target, failure.code, now_s - began_s)
        site.telemetry.condition(target, site.breakers[target].condition(now_s, in_flight=0, waiting=0))
        return failure

    def add(self, target: Target, relay: Relay, ready: Ready, held: tuple[float, int], *, was_queued: bool) -> None:
        """Cost, bytes and speed of one attempt; partial streams count, and so does one whose caller left.

        Args:
            held: US dollars and bytes that were reserved for it.
        """
        spec, site = target.spec, self._site
        tokens_in, tokens_out = tokens(relay, self._request)
        cost_usd = spec.price.cost_usd(tokens_in, tokens_out)
        if spec.at is Place.CLOUD:
            site.spend.settle(*held, cost_usd, held[1])
            self._cost_usd += cost_usd
            self.egress_bytes += held[1]
        if relay.is_committed or self._output_tokens == 0:
            self._input_tokens, self._output_tokens = tokens_in, tokens_out
        if relay.is_whole:
            self.answer = relay.answer
        self._answer_bytes += relay.answer_bytes
        if ready.restorer is not None:
            self._restored += ready.restorer.counts.restored
            self._unrestored += ready.restorer.counts.left + ready.restorer.counts.unknown
        if relay.first_at_s is not None:
            self._learn(spec.name, relay, tokens_out, was_queued=was_queued)

    def give(self, relay: Relay) -> None:
        """Counts what an attempt had held back, and gave after all."""
        self.answer = relay.answer
        self._answer_bytes += relay.answer_bytes

    def _learn(self, target: str, relay: Relay, tokens_out: int, *, was_queued: bool) -> None:
        """Teaches the estimates what this attempt shows."""
        assert relay.first_at_s is not None
        speeds, prompt_tokens = self._site.speeds, self._request.features.prompt_tokens
        ttft_s = relay.first_at_s - relay.began_at_s
        if relay.events == 0:
            # An answer in one piece: how it splits into first token and pace cannot be seen.
            speeds.observe_whole(
                target, prompt_tokens=prompt_tokens, total_s=ttft_s, output_tokens=tokens_out, was_queued=was_queued
            )
            return
        is_paced = relay.events > 1 and not relay.has_paused
        spread_s = relay.last_at_s - relay.first_at_s
        speeds.observe(
            target,
            Observation(
                prompt_tokens=prompt_tokens,
                ttft_s=ttft_s,
                tpot_s=spread_s / (tokens_out - 1) if is_paced and tokens_out > 1 else None,
                output_tokens=tokens_out if relay.is_whole else None,
                was_queued=was_queued,
            ),
        )

    def outcome(self, answer: Answer, ending: str, failure: str) -> OutcomeEntry:
        """How it all ended."""
        site, request = self._site, self._request
        return OutcomeEntry(
            request=request.id,
            # A name that is not served is the caller's text, and may hold anything.
            model=request.model if request.model in site.names else "?",
            endpoint=request.endpoint.value,
            key=request.key,
            ending=ending,
            reason=answer.reason,
            status=answer.status,
            target=answer.target,
            at=answer.at,
            failure=failure,
            is_stream=request.is_stream,
            ttft_s=None if answer.first_at_s is None else answer.first_at_s - request.received_at_s,
            total_s=site.clock.now_s() - request.received_at_s,
            overhead_s=self.overhead_s,
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
            cost_usd=self._cost_usd,
            egress_bytes=self.egress_bytes,
            answer_bytes=self._answer_bytes,
            continued=self.continued,
            restored=self._restored,
            unrestored=self._unrestored,
            attempts=tuple(self.attempts),
            purpose=request.purpose,
            day=site.spend.day,
            day_usd=site.spend.usd,
            day_egress_bytes=site.spend.egress_bytes,
        )
