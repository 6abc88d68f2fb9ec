"""Turns labels, key, model name and region into a limit per target. Pure; `never` beats everything."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from ecotone.values import Egress, Limit, Place, TargetSpec

_STRICTNESS: Final = {Egress.FREE: 0, Egress.PSEUDONYMISE: 1, Egress.NEVER: 2}

DEFAULT_LABELS: Final[Mapping[str, Egress]] = MappingProxyType(
    dict.fromkeys(
        (
            "unknown", "opaque", "secret", "card", "account", "national_id", "contact", "person", "address",
            "medical", "legal", "financial", "hr", "private_mail",
        ),
        Egress.NEVER,
    )
    | dict.fromkeys(("place", "organisation", "date", "amount"), Egress.FREE)
)  # fmt: skip
"""What each label allows where the configuration is silent (DESIGN.md, 1.3)."""


class Rule(msgspec.Struct, frozen=True):
    """One line of `policy`; an empty condition matches everything, all given ones must match.

    Attributes:
        name: `policy[3]`, for the ledger and `explain`.
        to_region: Matches targets whose region is one of these; a target without a region matches too,
            since nobody said where it is.
    """

    name: str
    egress: Egress
    key: str | None = None
    label: str | None = None
    model: str | None = None
    target: str | None = None
    to_region: tuple[str, ...] = ()

    def matches(self, *, labels: tuple[str, ...], key: str, model: str, spec: TargetSpec) -> bool:
        """Whether this rule speaks about such a request at such a target."""
        return (
            (self.key is None or self.key == key)
            and (self.label is None or self.label in labels)
            and (self.model is None or self.model == model)
            and (self.target is None or self.target == spec.name)
            and (not self.to_region or spec.region is None or spec.region in self.to_region)
        )


class Policy(msgspec.Struct, frozen=True):
    """All that decides on egress.

    Attributes:
        labels: What each label allows; overrides `DEFAULT_LABELS` label by label.
        rules: Read from the top, the first that matches decides; it can tighten a label's word, never loosen it.
    """

    labels: Mapping[str, Egress] = MappingProxyType({})
    rules: tuple[Rule, ...] = ()

    @property
    def says(self) -> str:
        """In words, what this policy does with data that carries no label."""
        if self.rules:
            return "data without a label may leave the site unless a rule of 'policy' holds it back"
        return "data without a label may leave the site"


def constrain(policy: Policy, labels: tuple[str, ...], spec: TargetSpec, *, key: str = "", model: str = "") -> Limit:
    """Policy's word on one target for a request with these labels.

    A label that neither the configuration nor the defaults know stays: whoever set it meant something by it.
    """
    if spec.at is Place.EDGE:
        return Limit(Egress.FREE, "edge")
    word, rule = Egress.FREE, "no label, no rule: free"
    for label in labels:
        found = policy.labels.get(label)
        if found is None:
            found = DEFAULT_LABELS.get(label, Egress.NEVER)
        if _STRICTNESS[found] > _STRICTNESS[word]:
            word, rule = found, f"label {label}"
    for line in policy.rules:
        if line.matches(labels=labels, key=key, model=model, spec=spec):
            if _STRICTNESS[line.egress] > _STRICTNESS[word]:
                word, rule = line.egress, line.name
            break
    return Limit(word, rule)
