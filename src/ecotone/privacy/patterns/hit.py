"""One thing seen, before overlaps are settled and spans led back to the text as it was written."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

LABELS = {
    "email": "contact",
    "phone": "contact",
    "handle": "contact",
    "ip": "contact",
    "mac": "contact",
    "card": "card",
    "iban": "account",
    "bank_account": "account",
    "record_number": "account",
    "vehicle_plate": "account",
    "passport": "national_id",
    "driver_licence": "national_id",
    "date_of_birth": "person",
    "street_address": "address",
}
"""Label by kind, for the kinds that are neither a secret (`secret.*`) nor a number of a person (all the rest)."""

# Where two overlap, the higher one stays; between equals, the longer.
_RANKS = {"secret": 5, "national_id": 4, "card": 4, "account": 3, "contact": 2, "person": 1, "address": 0}


class Hit(NamedTuple):
    """A span of the folded text, what it is, and how sure."""

    start: int
    end: int
    kind: str
    sure: float
    named: str = ""
    """Its label, where a site gave it."""

    @property
    def label(self) -> str:
        """The word that policy knows."""
        if self.named:
            return self.named
        if self.kind.startswith("secret"):
            return "secret"
        return LABELS.get(self.kind, "national_id")


def settle(hits: list[Hit]) -> list[Hit]:
    """The hits without overlaps, in order of the text: the surer wins, then the stricter label, then the longer."""
    if len(hits) < 2:
        return hits
    hits.sort(key=lambda hit: hit.start)
    kept: list[Hit] = []
    knot: list[Hit] = []
    reach = 0
    for hit in hits:
        if hit.start >= reach and knot:
            kept += _untie(knot)
            knot = []
        knot.append(hit)
        reach = max(reach, hit.end)
    return kept + _untie(knot)


def _untie(knot: list[Hit]) -> list[Hit]:
    """Of hits that overlap in a chain, those that stay."""
    if len(knot) == 1:
        return knot
    starts: list[int] = []
    kept: list[Hit] = []
    for hit in sorted(knot, key=weight, reverse=True):
        at = bisect_left(starts, hit.start)
        if (at and kept[at - 1].end > hit.start) or (at < len(kept) and kept[at].start < hit.end):
            continue
        starts.insert(at, hit.start)
        kept.insert(at, hit)
    return kept


def weight(hit: Hit) -> tuple[float, int, int]:
    """What decides between two that overlap."""
    return hit.sure, _RANKS.get(hit.label, 0), hit.end - hit.start
