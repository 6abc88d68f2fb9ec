"""What the site must be able to prove: permits, receipts and outcomes. None of them holds content."""

from __future__ import annotations

import hashlib

import msgspec


def binding(transform: str, body: bytes) -> str:
    """What a permit is bound to: SHA-256, hex, of the transformation's name, a line break and the exact body."""
    return hashlib.sha256(b"%b\n%b" % (transform.encode(), body)).hexdigest()


class Permit(msgspec.Struct, frozen=True, gc=False):
    """Leave for exactly these bytes to go to exactly this target. Minted by `policy.Mint` alone.

    Attributes:
        request: Id of the request.
        target: Name of the target.
        origin: `scheme://host:port` that the bytes may go to.
        digest: SHA-256 of the transformation and the exact request body, hex (`binding`).
        transform: What was done to the caller's words: `none`, or `pseudonymise:` and a digest of the transformation.
        rule: The policy rule that let it pass.
        seal: HMAC over all of the above under a key that only the mint holds.
    """

    request: str
    target: str
    origin: str
    digest: str
    transform: str
    rule: str
    seal: bytes


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Proof that the ledger entry for a permit is durable; egress demands it.

    Attributes:
        seq: Position of the entry in the ledger.
        seal: The seal of the permit that the entry records.
    """

    seq: int
    seal: bytes


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One try at one target, as the outcome entry and the debug header give it."""

    target: str
    failure: str
    took_s: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a request ended: exactly one per request (invariant 4, 5).

    Attributes:
        ending: A word of `reasons.ENDINGS`.
        failure: A failure class, obstacle or error code where it did not end well, else `''`.
        ttft_s: Seconds from arrival to the first byte of the answer; None where none came.
        total_s: Seconds from arrival to the end.
        cost_usd: Price of all billed attempts, partial streams included.
        egress_bytes: Bytes of request bodies handed to cloud targets.
        continued: Target at the edge that wrote on where the first one broke off, or `''`.
        restored, unrestored: Surrogates in the answer that were turned back, and that were left as they came.
        purpose: As `Request.purpose`.
    """

    request: str
    model: str
    endpoint: str
    key: str
    ending: str
    reason: str
    status: int
    target: str = ""
    at: str = ""
    failure: str = ""
    is_stream: bool = False
    ttft_s: float | None = None
    total_s: float = 0.0
    overhead_s: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    egress_bytes: int = 0
    answer_bytes: int = 0
    continued: str = ""
    restored: int = 0
    unrestored: int = 0
    attempts: tuple[Attempt, ...] = ()
    purpose: str = ""
