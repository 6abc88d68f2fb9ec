"""Turns labels, key, model name and region into a limit per target. Pure; `never` beats everything."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from ecotone.values import Egress, Findings, Limit, Place, TargetSpec

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
        rules: Of those that match, `never` beats all, else the first one speaks; a rule can tighten a label's word,
            never loosen it.
    """

    labels: Mapping[str, Egress] = MappingProxyType({})
    rules: tuple[Rule, ...] = ()

    def line(self, *, labels: tuple[str, ...], key: str, model: str, spec: TargetSpec) -> Rule | None:
        """The rule that speaks about such a request at such a target: a `never` before all others, else the first."""
        first: Rule | None = None
        for rule in self.rules:
            if rule.matches(labels=labels, key=key, model=model, spec=spec):
                if rule.egress is Egress.NEVER:
                    return rule
                first = first or rule
        return first

    @property
    def says(self) -> str:
        """In words, what this policy does with data that carries no label."""
        if self.rules:
            return "data without a label may leave the site unless a rule of 'policy' holds it back"
        return "data without a label may leave the site"


def constrain(policy: Policy, findings: Findings, spec: TargetSpec, *, key: str = "", model: str = "") -> Limit:
    """Policy's word on one target for a conversation that holds this.

    A label that neither the configuration nor the defaults know stays: whoever set it meant something by it. So does
    one that may only go pseudonymised and stands for something that cannot be replaced.
    """
    if spec.at is Place.EDGE:
        return Limit(Egress.FREE, "edge")
    words = {label: word_for(policy, label) for label in findings.labels}
    word, rule = Egress.FREE, "no label, no rule: free"
    for label, found in words.items():
        if _STRICTNESS[found] > _STRICTNESS[word]:
            word, rule = found, f"label {label}"
    line = policy.line(labels=findings.labels, key=key, model=model, spec=spec)
    if line is not None and _STRICTNESS[line.egress] > _STRICTNESS[word]:
        word, rule = line.egress, line.name
    if word is not Egress.PSEUDONYMISE:
        return Limit(word, rule, (), bool(findings.pending))
    replace = _replaced(words, line)
    fixed = [label for label in replace if label in findings.loose]
    if fixed:
        return Limit(Egress.NEVER, f"{rule}: {fixed[0]} stands for something that cannot be replaced")
    return Limit(word, rule, replace, bool(findings.pending))


def word_for(policy: Policy, label: str) -> Egress:
    """What a label allows by itself."""
    found = policy.labels.get(label)
    return DEFAULT_LABELS.get(label, Egress.NEVER) if found is None else found


def _replaced(words: Mapping[str, Egress], line: Rule | None) -> tuple[str, ...]:
    """Labels whose values must be replaced: those that say so; the one of a rule that names one, else all."""
    replace = {label for label, word in words.items() if word is Egress.PSEUDONYMISE}
    if line is not None and line.egress is Egress.PSEUDONYMISE:
        replace |= set(words) if line.label is None else {line.label}
    return tuple(sorted(replace))
