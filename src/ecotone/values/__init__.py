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
from ecotone.values.evidence import Attempt, Outcome, Permit, Receipt
from ecotone.values.finding import INSIDE, Finding, Segment, Step
from ecotone.values.request import Endpoint, Features, Mode, Place, Request, Wish
from ecotone.values.target import Price, TargetSpec

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
    "TargetError",
    "TargetSpec",
    "TrustError",
    "Wish",
]
