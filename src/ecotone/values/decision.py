"""The values that go into a decision and come out of it; a ledger entry holds them all (invariant 9).

What equals its default is left out of the entry: it comes back when the entry is read.
"""

from __future__ import annotations

import enum

import msgspec

from ecotone.values.request import Mode, Place, Wish


class Egress(enum.StrEnum):
    """What policy lets a request do at one target."""

    FREE = "free"
    PSEUDONYMISE = "pseudonymise"
    NEVER = "never"


class Limit(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Policy's word on one target; `rule` names what decided, for the ledger and for `explain`.

    Attributes:
        replace: Labels whose values must be replaced before anything goes there; only with `pseudonymise`.
        is_open: Detectors have yet to look, and may tighten this. No permit is minted for it.
    """

    egress: Egress
    rule: str
    replace: tuple[str, ...] = ()
    is_open: bool = False


class Estimate(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What one target is predicted to do with one request. None = nothing measured yet.

    Attributes:
        wait_s: Seconds in the target's queue before work starts.
        ttft_s_p50, ttft_s_p95: Seconds from sending to the first token, queue included.
        total_s_p50, total_s_p95: Seconds from sending to the last token, queue included.
        price_usd: Predicted price of the whole answer.
        output_tokens: Predicted length of the answer.
        gap: Predicted loss of quality against the cloud's answer, in [-1, 1]; None where nobody learns that.
        gap_max: How much may be risked: in mode `auto` the edge goes first only where `gap` is at most this.
        good: Calibrated probability that the answer is good enough.
        is_held: The answer is held back until it is whole, and looked at before the caller gets any of it.
    """

    wait_s: float = 0.0
    ttft_s_p50: float | None = None
    ttft_s_p95: float | None = None
    total_s_p50: float | None = None
    total_s_p95: float | None = None
    price_usd: float = 0.0
    output_tokens: int = 0
    gap: float | None = None
    gap_max: float | None = None
    good: float | None = None
    is_held: bool = False

    @property
    def is_unsure(self) -> bool:
        """Whether this target would risk more than may be risked."""
        return self.gap is not None and self.gap_max is not None and self.gap > self.gap_max


class Condition(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A target's state now, exactly as its breaker and queue keep it.

    Attributes:
        breaker: `closed`, `half_open` or `open`.
        retry_in_s: Seconds until an open breaker lets a probe through.
        in_flight: Requests being served.
        waiting: Requests waiting for a slot that are served before this one.
    """

    breaker: str = "closed"
    retry_in_s: float = 0.0
    in_flight: int = 0
    waiting: int = 0


class Candidate(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """All that `placement.decide` knows of one target for one request, in the order of the model name's list."""

    target: str
    at: Place
    limit: Limit
    estimate: Estimate
    condition: Condition
    lacks: tuple[str, ...] = ()
    serves_endpoint: bool = True
    context_tokens: int | None = None
    slots: int = 1024
    queue_max: int = 0


class Ask(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What the request and the site demand of any target.

    Attributes:
        remaining_s: Seconds until the deadline; None without one.
        wait_s_max: Longest wait in a target's queue, seconds; None = no limit.
        budget_usd_left, budget_bytes_left: What is left of today's cloud budgets; None = no budget.
        body_bytes: Size of the request body.
        prompt_tokens, output_tokens: Estimated tokens in, and the caller's limit on tokens out (0 = none given).
        is_cloud_off: `ECOTONE_NO_CLOUD=1`.
        is_link_closed: The metered link is closed now, also to those who wait (`link.interactive: refused`).
        seed: For choices that draw; which target goes first is not one of them.
        role, role_share: What the pair of answers is for (`values.quality.Role`), drawn by the seed before placement,
            and the probability with which it was drawn.
    """

    mode: Mode
    wish: Wish
    prompt_tokens: int
    output_tokens: int
    body_bytes: int
    remaining_s: float | None = None
    budget_usd_left: float | None = None
    budget_bytes_left: int | None = None
    is_cloud_off: bool = False
    is_link_closed: bool = False
    seed: int = 0
    wait_s_max: float | None = None
    role: str = ""
    role_share: float = 1.0


class Loss(msgspec.Struct, frozen=True, gc=False):
    """Why a target is not in the order: a word of `reasons.OBSTACLES` and the figures behind it."""

    target: str
    obstacle: str
    detail: str


class Placement(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Targets to try, in order, and why each other one lost. An empty order is a refusal.

    Attributes:
        reason: A code of `reasons.REASONS`, or `refused.<obstacle>`.
        propensity: Probability with which this order was drawn, for later off-policy estimates.
    """

    order: tuple[str, ...]
    reason: str
    lost: tuple[Loss, ...] = ()
    propensity: float = 1.0
