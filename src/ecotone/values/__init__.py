"""The nouns of Ecotone and its errors: plain frozen values that pass between the rooms."""

from ecotone.values.decision import Ask, Candidate, Condition, Egress, Estimate, Limit, Loss, Placement
from ecotone.values.errors import (
    ConfigError,
    DeadlineError,
    EcotoneError,
    PlacementError,
    RefusalError,
    RequestError,
    TargetError,
    TrustError,
)
from ecotone.values.evidence import Attempt, Outcome, Permit, Receipt, binding
from ecotone.values.finding import INSIDE, Finding, Findings, Segment, Step
from ecotone.values.request import Endpoint, Features, Mode, Place, Request, Wish
from ecotone.values.target import Price, Surrogates, TargetSpec

__all__ = [
    "INSIDE",
    "Ask",
    "Attempt",
    "Candidate",
    "Condition",
    "ConfigError",
    "DeadlineError",
    "EcotoneError",
    "Egress",
    "Endpoint",
    "Estimate",
    "Features",
    "Finding",
    "Findings",
    "Limit",
    "Loss",
    "Mode",
    "Outcome",
    "Permit",
    "Place",
    "Placement",
    "PlacementError",
    "Price",
    "Receipt",
    "RefusalError",
    "Request",
    "RequestError",
    "Segment",
    "Step",
    "Surrogates",
    "TargetError",
    "TargetSpec",
    "TrustError",
    "Wish",
    "binding",
]
