"""What a target is, as far as the core must know."""

from __future__ import annotations

import enum

import msgspec

from ecotone.values.request import Place


class Surrogates(enum.StrEnum):
    """What stands in for a value: an opaque word (`PERSON_7C1`), or another value of its kind."""

    TAGGED = "tagged"
    NATURAL = "natural"


class Price(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """US dollars per million tokens."""

    input_usd_per_mtok: float = 0.0
    output_usd_per_mtok: float = 0.0

    def cost_usd(self, input_tokens: float, output_tokens: float) -> float:
        """Price of so many tokens, US dollars."""
        return (input_tokens * self.input_usd_per_mtok + output_tokens * self.output_usd_per_mtok) / 1e6


class TargetSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A model at a place.

    Attributes:
        model: The model's own name, as the answer's `model` gives it.
        capabilities: What it can do; None where that is unknown (a URL target: all is tried).
        endpoints: Paths below `/v1/` that it serves.
        context_tokens: Prompt and answer together; None where unknown.
        slots: Requests that it serves at a time; further ones wait.
        queue_max: Requests that may wait for a slot before the target counts as full.
        surrogates: How values are replaced that may go there pseudonymised only.
    """

    name: str
    at: Place
    model: str
    price: Price = Price()
    region: str | None = None
    capabilities: frozenset[str] | None = None
    endpoints: tuple[str, ...] = ("chat/completions", "completions", "embeddings")
    context_tokens: int | None = None
    slots: int = 1024
    queue_max: int = 0
    surrogates: Surrogates = Surrogates.TAGGED
